#pragma once

/// @file The gate equations on vectors of units: the C++ twin of `step_forward` and `step_backward` in
/// `src/grus/equations.py`, under the same names and tags. (Bk) is the adjoint of (Fk).

#include "activations.hpp"

namespace grus {
namespace {

/// @param a_r, a_z  gx + gh of the two gates
template <class Functions>
GRUS_INLINE void reset_and_update(const Functions& functions, V a_r, V a_z, V& r, V& z) {
    r = functions.reset_gate(a_r);   // (F1)
    z = functions.update_gate(a_z);  // (F2)
}

template <class Functions>
GRUS_INLINE V new_after(const Functions& functions, V gx_n, V r, V gh_n) {
    return functions.new_gate(multiply_add(r, gh_n, gx_n));  // (F3)
}

/// @param a_n  gx_n + (r * h_prev) @ weight_hn.T + bias_hn
template <class Functions>
GRUS_INLINE V new_before(const Functions& functions, V a_n) {
    return functions.new_gate(a_n);  // (F3')
}

/// @param a_n  gx_n + gh_n
template <class Functions>
GRUS_INLINE V new_candidate(const Functions& functions, V r, V a_n) {
    return functions.new_gate(r * a_n);  // (F3'')
}

GRUS_INLINE V next_state(V z, V n, V h_prev) {
    return multiply_add(z, h_prev - n, n);  // (F4)
}

/// @param stays  the share of the state that zoneout leaves as it was
GRUS_INLINE V leave_state(V stays, V h, V h_prev) {
    return multiply_add(stays, h_prev - h, h);  // (F5)
}

/// dh of what the step made; `dh_prev` is that of what it left.
GRUS_INLINE V leave_state_backward(V stays, V dh, V& dh_prev) {
    dh_prev = dh * stays;
    return dh * (all(1) - stays);  // (B5)
}

/// What (B4), the derivative of phi and (B2) give, before r is differentiated.
struct NewAndUpdateGradients {
    V dg_z, dgx_n, dh_prev;  // dh_prev: the direct path only
};

template <class Functions>
GRUS_INLINE NewAndUpdateGradients new_and_update_backward(const Functions& functions, V dh, V z, V n,
                                                          V h_prev) {
    const V dn = dh * (all(1) - z), dz = dh * (h_prev - n), dh_prev = dh * z;         // (B4)
    return {dz * functions.d_update_gate(z), dn * functions.d_new_gate(n), dh_prev};  // (B2)
}

template <class Functions>
GRUS_INLINE void reset_backward_after(const Functions& functions, V dgx_n, V r, V gh_n, V& dg_r, V& dgh_n) {
    dgh_n = dgx_n * r;
    const V dr = dgx_n * gh_n;              // (B3)
    dg_r = dr * functions.d_reset_gate(r);  // (B1)
}

/// @param d  of (F3'')'s pre-activation
template <class Functions>
GRUS_INLINE void reset_backward_candidate(const Functions& functions, V d, V r, V a_n, V& dg_r, V& dgx_n) {
    dgx_n = d * r;
    const V dr = d * a_n;                   // (B3'')
    dg_r = dr * functions.d_reset_gate(r);  // (B1)
}

/// @param q        dgx_n @ weight_hn
/// @param dh_prev  gains the path through r * h_prev
template <class Functions>
GRUS_INLINE void reset_backward_before(const Functions& functions, V q, V r, V h_prev, V& dg_r, V& dh_prev) {
    const V dr = q * h_prev;  // (B3')
    dh_prev = multiply_add(q, r, dh_prev);
    dg_r = dr * functions.d_reset_gate(r);  // (B1)
}

}  // namespace
}  // namespace grus
