#pragma once

#include <nanobind/nanobind.h>

/// @brief Adds `Memory` and `free_kept_memory` to the module.
void bind_memory(nanobind::module_& m);
