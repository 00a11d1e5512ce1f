#pragma once

#include <nanobind/nanobind.h>

/// @brief Adds the native engine to the module.
void bind_gru(nanobind::module_& m);
