#pragma once

#include <nanobind/nanobind.h>

/// @brief Adds the one-step sessions to the module.
void bind_session(nanobind::module_& m);
