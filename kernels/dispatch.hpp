#pragma once

/// @file Which instruction set runs, and a call from start to end: split, scratch, threads.

#include <string>
#include <vector>

#include "gru.hpp"

namespace grus {

/// @brief The names of the instruction sets that were compiled and that this processor has, best first.
std::vector<std::string> available_instruction_sets();

/// @brief The name of the one in use; at first the best. Empty where there is none.
std::string instruction_set();

/// @return false where `name` isn't available; then nothing changes.
bool use_instruction_set(const std::string& name);

template <class Real>
const Kernels<Real>& kernels();

/// @brief Runs a call on as many threads as it is worth. The result has the same bits for any number of them.
template <class Real>
void run(const Forward<Real>& problem);
template <class Real>
void run(const Backward<Real>& problem);

/// @brief Runs two calls that write different arrays, such as the two directions of a layer: on a thread
/// each, where threads that shared each call would have to meet at every step.
template <class Real>
void run(const Forward<Real>& problem, const Forward<Real>& other);
template <class Real>
void run(const Backward<Real>& problem, const Backward<Real>& other);

}  // namespace grus
