# How kernels.cpp is compiled for each instruction set. CMakeLists.txt includes this file, and the tests that compile
# kernels of their own read it (tests/toolchain.py), so nothing but `set(NAME FLAG...)` in one line may stand here.

# Sums keep their order (no -ffast-math), and only what says so (multiply_add) is fused.
set(kernel_flags -O3 -fno-math-errno -ffp-contract=off -fno-exceptions -Wall -Wextra)
set(kernel_flags_x86_64_v2 -march=x86-64-v2)
set(kernel_flags_x86_64_v3 -march=x86-64-v3)
set(kernel_flags_x86_64_v4 -march=x86-64-v4 -mprefer-vector-width=512)
set(kernel_flags_neon)
# GCC's first scheduler reads the rows' numbers so early that sums have to leave their registers.
set(kernel_flags_gnu_neon -fno-schedule-insns)
