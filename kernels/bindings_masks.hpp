#pragma once

#include <nanobind/nanobind.h>

/// @brief Adds the drawing of masks to the module.
void bind_masks(nanobind::module_& m);
