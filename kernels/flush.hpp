#pragma once

/// @file While one lives, this thread takes and gives zeros for denormal numbers: states and gradients that
/// decay pass through them, where arithmetic is tens of times slower.

#include <cstdint>

namespace grus {
namespace {

class FlushDenormals {
  public:
    FlushDenormals() : before_(read()) { write(before_ | flags); }
    ~FlushDenormals() { write(before_); }
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;

  private:
#if defined(__x86_64__)
    using Register = std::uint32_t;
    static constexpr Register flags = 0x8040;  // results (FTZ) and operands (DAZ)
    static Register read() { return __builtin_ia32_stmxcsr(); }
    static void write(Register value) { __builtin_ia32_ldmxcsr(value); }
#elif defined(__aarch64__)
    using Register = std::uint64_t;
    static constexpr Register flags = Register(1) << 24;  // FZ: both
    static Register read() {
        Register value;
        __asm__ volatile("mrs %0, fpcr" : "=r"(value));
        return value;
    }
    static void write(Register value) { __asm__ volatile("msr fpcr, %0" ::"r"(value)); }
#else
    using Register = int;
    static constexpr Register flags = 0;
    static Register read() { return 0; }
    static void write(Register) {}
#endif
    Register before_;
};

}  // namespace
}  // namespace grus
