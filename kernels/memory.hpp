#pragma once

/// @file Memory that is used again. The system clears the pages of a new block one by one as they are
/// touched, and takes them from all cores when it is freed; for what lives as long as a call, that can take
/// as long as the call's arithmetic.

#include <cstddef>

namespace grus {

/// @brief A block of memory, aligned to 64 bytes and holding anything: one that was freed before, if it fits.
class Block {
  public:
    /// Throws std::bad_alloc.
    explicit Block(std::size_t bytes);
    ~Block();
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    void* data() const { return data_; }

  private:
    void* data_;
    std::size_t bytes_;
};

/// @brief Gives to the system what was freed and is kept; how many bytes that was.
std::size_t free_kept_memory();

}  // namespace grus
