#pragma once

/// @file The activation functions of `src/grus/activations.py` and their derivatives as functions of the
/// output.

#include "elementary.hpp"

namespace grus {
namespace {

__attribute__((noinline)) inline V activate(const Activation& activation, V a) {
    const V alpha = all(Real(activation.alpha)), beta = all(Real(activation.beta)), zero{}, one = all(1);
    switch (activation.function) {
        case Function::identity:
            return a;
        case Function::tanh:
            return tanh(a);
        case Function::sigmoid:
            return sigmoid(a);
        case Function::relu:
            return select(a > zero, a, select(a <= zero, zero, a));
        case Function::leaky_relu:
            return select(a > zero, a, alpha * a);
        case Function::elu:
            return select(a < zero, -alpha * one_minus_exp(select(a < zero, a, zero)), a);
        case Function::softsign:
            return a / (one + magnitude(a));
        case Function::hard_sigmoid: {
            const V line = multiply_add(alpha, a, beta);
            return select(line <= zero, zero, select(line >= one, one, line));
        }
    }
    return a;
}

__attribute__((noinline)) inline V derivative(const Activation& activation, V y) {
    const V alpha = all(Real(activation.alpha)), zero{}, one = all(1);
    switch (activation.function) {
        case Function::identity:
            return one;
        case Function::tanh:
            return multiply_add(-y, y, one);
        case Function::sigmoid:
            return y * (one - y);
        case Function::relu:
            return select(y > zero, one, zero);
        case Function::leaky_relu:
            return select(y > zero, one, alpha);
        case Function::elu:
            return select(y < zero, y + alpha, one);
        case Function::softsign:
            return (one - magnitude(y)) * (one - magnitude(y));
        case Function::hard_sigmoid:
            return select((y > zero) & (y < one), alpha, zero);
    }
    return one;
}

/// The pair that nearly every GRU has, known to the compiler.
struct TanhAndSigmoid {
    explicit TanhAndSigmoid(const Formulation&) {}
    GRUS_INLINE V new_gate(V a) const { return tanh(a); }
    GRUS_INLINE V reset_gate(V a) const { return sigmoid(a); }
    GRUS_INLINE V update_gate(V a) const { return sigmoid(a); }
    GRUS_INLINE V d_new_gate(V n) const { return multiply_add(-n, n, all(1)); }
    GRUS_INLINE V d_reset_gate(V r) const { return r * (all(1) - r); }
    GRUS_INLINE V d_update_gate(V z) const { return z * (all(1) - z); }
};

/// Any other choice, looked up at each vector.
struct AnyFunctions {
    explicit AnyFunctions(const Formulation& form) : form(form) {}
    V new_gate(V a) const { return activate(form.activation, a); }
    V reset_gate(V a) const { return activate(form.reset_activation, a); }
    V update_gate(V a) const { return activate(form.update_activation, a); }
    V d_new_gate(V n) const { return derivative(form.activation, n); }
    V d_reset_gate(V r) const { return derivative(form.reset_activation, r); }
    V d_update_gate(V z) const { return derivative(form.update_activation, z); }
    Formulation form;
};

inline bool is_tanh_and_sigmoid(const Formulation& form) {
    return form.activation.function == Function::tanh &&
           form.reset_activation.function == Function::sigmoid &&
           form.update_activation.function == Function::sigmoid;
}

}  // namespace
}  // namespace grus
