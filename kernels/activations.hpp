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
        case Function::affine:
            return multiply_add(alpha, a, beta);
        case Function::thresholded_relu:
            return select(a <= alpha, zero, a);
        case Function::scaled_tanh:
            return alpha * tanh(beta * a);
        case Function::softplus:
            return softplus(a);
    }
    return a;
}

__attribute__((noinline)) inline V derivative(const Activation& activation, V y) {
    const V alpha = all(Real(activation.alpha)), beta = all(Real(activation.beta)), zero{}, one = all(1);
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
        case Function::affine:
            return alpha;
        case Function::thresholded_relu:
            return select(y == zero, zero, one);
        case Function::scaled_tanh:
            return beta * multiply_add(-y, y / alpha, alpha);
        case Function::softplus:
            return one_minus_exp(-y);
    }
    return one;
}

/// The pair that nearly every GRU has, known to the compiler.
struct TanhAndSigmoid {
    static constexpr bool is_compact = false;
    explicit TanhAndSigmoid(const Formulation&) {}
    GRUS_INLINE V new_gate(V a) const { return tanh(a); }
    GRUS_INLINE V reset_gate(V a) const { return sigmoid(a); }
    GRUS_INLINE V update_gate(V a) const { return sigmoid(a); }
    GRUS_INLINE V d_new_gate(V n) const { return multiply_add(-n, n, all(1)); }
    GRUS_INLINE V d_reset_gate(V r) const { return r * (all(1) - r); }
    GRUS_INLINE V d_update_gate(V z) const { return z * (all(1) - z); }
};

/// One activation with what it needs at every call.
class AnyFunction {
  public:
    AnyFunction(const Activation& activation, Function usual)
        : activation_(activation), usual_(activation.function == usual), clips_(activation.clip != 0) {
        if (activation.clip == 0) return;
        const V ends[] = {activate(activation, all(-Real(activation.clip))),
                          activate(activation, all(Real(activation.clip)))};
        low_ = ends[0][0] < ends[1][0] ? ends[0] : ends[1];
        high_ = ends[0][0] < ends[1][0] ? ends[1] : ends[0];
    }
    GRUS_INLINE bool usual() const { return usual_; }
    GRUS_INLINE V cut(V a) const { return clips_ ? at_most(at_least(a, -limit_), limit_) : a; }
    GRUS_INLINE V inside(V y, V slope) const {
        return clips_ ? select((y > low_) & (y < high_), slope, V{}) : slope;
    }
    __attribute__((noinline)) V value(V a) const { return activate(activation_, cut(a)); }
    __attribute__((noinline)) V slope(V y) const { return inside(y, derivative(activation_, y)); }

  private:
    Activation activation_;
    bool usual_, clips_;
    V limit_ = all(Real(activation_.clip));
    V low_{}, high_{};
};

/// Any choice; where a gate has its usual function that is not looked up.
struct AnyFunctions {
    explicit AnyFunctions(const Formulation& form)
        : of_new(form.activation, Function::tanh),
          of_reset(form.reset_activation, Function::sigmoid),
          of_update(form.update_activation, Function::sigmoid) {}
    GRUS_INLINE V new_gate(V a) const { return of_new.usual() ? tanh(of_new.cut(a)) : of_new.value(a); }
    GRUS_INLINE V reset_gate(V a) const {
        return of_reset.usual() ? sigmoid(of_reset.cut(a)) : of_reset.value(a);
    }
    GRUS_INLINE V update_gate(V a) const {
        return of_update.usual() ? sigmoid(of_update.cut(a)) : of_update.value(a);
    }
    GRUS_INLINE V d_new_gate(V n) const {
        return of_new.usual() ? of_new.inside(n, multiply_add(-n, n, all(1))) : of_new.slope(n);
    }
    GRUS_INLINE V d_reset_gate(V r) const {
        return of_reset.usual() ? of_reset.inside(r, r * (all(1) - r)) : of_reset.slope(r);
    }
    GRUS_INLINE V d_update_gate(V z) const {
        return of_update.usual() ? of_update.inside(z, z * (all(1) - z)) : of_update.slope(z);
    }
    AnyFunction of_new, of_reset, of_update;
};

/// The same where every one of them is looked up: little code, for the fused kernels, which have many forms.
struct LookedUpFunctions : AnyFunctions {
    using AnyFunctions::AnyFunctions;
    static constexpr bool is_compact = true;
    GRUS_INLINE V new_gate(V a) const { return of_new.value(a); }
    GRUS_INLINE V reset_gate(V a) const { return of_reset.value(a); }
    GRUS_INLINE V update_gate(V a) const { return of_update.value(a); }
    GRUS_INLINE V d_new_gate(V n) const { return of_new.slope(n); }
    GRUS_INLINE V d_reset_gate(V r) const { return of_reset.slope(r); }
    GRUS_INLINE V d_update_gate(V z) const { return of_update.slope(z); }
};

inline bool is_tanh_and_sigmoid(const Formulation& form) {
    return form.activation.function == Function::tanh &&
           form.reset_activation.function == Function::sigmoid &&
           form.update_activation.function == Function::sigmoid && form.activation.clip == 0 &&
           form.reset_activation.clip == 0 && form.update_activation.clip == 0;
}

}  // namespace
}  // namespace grus
