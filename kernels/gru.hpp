#pragma once

/// @file The contract of the native engine: one GRU layer in one direction, forward and backward.
///
/// The equations are those of `src/grus/equations.py`, where the names come from. Sizes: T time, B batch, I
/// input, H hidden. The bindings have checked every shape and dtype. All arrays are row-major with a
/// contiguous last axis; those of a `Sequence` may have any stride on time and batch, counted in elements and
/// possibly negative or zero. No array may overlap one that is written, and none need be aligned beyond its
/// element.
///
/// Only plain structures live here: the units of the instruction sets include this file, and an inline
/// function that one of them emitted could serve a processor that can't run it.

#include <cstdint>

namespace grus {

using Size = std::int64_t;

struct Sizes {
    Size T, B, I, H;  ///< any of them may be 0
};

enum class Function : int {
    identity,
    tanh,
    sigmoid,
    relu,
    leaky_relu,
    elu,
    softsign,
    hard_sigmoid,
    affine,
    thresholded_relu,
    scaled_tanh,
    softplus
};

struct Activation {
    Function function;
    double alpha, beta;  ///< as in `src/grus/activations.py`; where a function has none, not read
    double clip;         ///< pre-activations are cut to +-this; 0: they are not
};

enum class Reset : int { after, before, candidate };  ///< (F3), (F3'), (F3'')

struct Formulation {
    Reset reset;
    Activation activation;         ///< of the new gate
    Activation reset_activation;   ///< of the reset gate
    Activation update_activation;  ///< of the update gate
    Size blocks;                   ///< on the diagonal of each recurrent matrix; it divides H
    Size truncate;                 ///< steps that each loss gradient passes at most; below 0: all
    double gradient_clip;  ///< bound on a gradient that leaves a step for the one before; 0: there is none
};

/// @brief An array [T, B, width]; the entry of step t and row b starts at `data + t * step + b * row`.
template <class Real>
struct Sequence {
    Real* data;
    Size step, row;
};

/// @brief What forward and backward are both given; nothing here is written.
template <class Real>
struct Layer {
    Sizes sizes;
    Formulation form;
    bool reverse;                ///< run from the last step to the first
    const Real* weight_ih;       ///< [3H, I], rows r | z | n
    const Real* weight_hh;       ///< [3H, H / blocks]
    const Real* bias_ih;         ///< [3H]
    const Real* bias_hh;         ///< [3H]
    const Real* gain_ih;         ///< [3H] of layer normalisation; null: there is none
    const Real* gain_hh;         ///< [3H]; null where gain_ih is
    Sequence<const Real> x;      ///< [T, B, I]; where `valid` is false it may hold anything
    const Real* h0;              ///< [B, H]
    const Real* reset_state;     ///< [B, H]; read only where `reset` is true, null where `reset` is
    const std::uint8_t* valid;   ///< [T, B] contiguous; false: the step carries the state. null: all true
    const std::uint8_t* reset;   ///< [T, B] contiguous; true: `reset_state` replaces the state before step t
                                 ///< is taken, in the direction of running. null: all false
    Sequence<const Real> decay;  ///< [T, B, H] multiplies the state before the step; null: nothing does
    Sequence<const Real> zoneout;  ///< [T, B, H] the share of the state that a step leaves; null: nothing
    const Real* recurrent_mask;    ///< [B, 3H] multiplies h_prev for each gate; null: nothing does
    const Real* input_mask;        ///< [B, 3H] multiplies the projected input; null: nothing does
};

/// @brief Fills `states`, and `workspace` with what backward needs.
///
/// The workspace [T, B, planes * H] holds four planes per row, and ten with layer normalisation. While a step
/// waits the first ones are the projected input gx_r, gx_z, gx_n and nothing; afterwards r, z, n and, for
/// (F3), gh_n, for (F3'), r * h_prev or, for (F3''), gx_n + gh_n. The other six are the products with
/// weight_ih and with weight_hh before they are normalised.
template <class Real>
struct Forward {
    Layer<Real> layer;
    Sequence<Real> states;  ///< [T, B, H] written
    Real* workspace;  ///< [T, B, planes * H] written; null: keep nothing, a few steps of it stand in the
                      ///< scratch
    bool packed;      ///< the scratch is that of the last call, and the weights are those of that call
};

/// @brief Fills every gradient; the workspace that forward left is overwritten.
///
/// Its planes become dg_r, dg_z, dgx_n and, for (F3), dgh_n; for (F3') the last one stays r * h_prev. With
/// layer normalisation the others become the gradients of the products.
template <class Real>
struct Backward {
    Layer<Real> layer;              ///< as forward had it
    Sequence<const Real> states;    ///< [T, B, H] as forward left them
    Sequence<const Real> d_states;  ///< [T, B, H]
    const Real* d_h_n;              ///< [B, H]
    Real* workspace;  ///< [T, B, planes * H] read and overwritten; null: forward kept nothing, and the gates
                      ///< are computed again from the states, some steps at a time
    Sequence<Real> dx;       ///< [T, B, I] written; null: it is not asked for
    Sequence<Real> d_decay;  ///< [T, B, H] written; null where `layer.decay` is
    Real* dh0;               ///< [B, H] written
    Real* d_reset_state;     ///< [B, H] written; null where `layer.reset` is
    Real* dweight_ih;        ///< [3H, I] written
    Real* dweight_hh;        ///< [3H, H / blocks] written
    Real* dbias_ih;          ///< [3H] written
    Real* dbias_hh;          ///< [3H] written
    Real* dgain_ih;          ///< [3H] written; null where `layer.gain_ih` is
    Real* dgain_hh;          ///< [3H] written; null where `layer.gain_hh` is
};

class Barrier;

/// @brief One of the threads that share a call; all of them run the same function on the same arguments.
struct Worker {
    int index, count;
    bool
        split_rows;  ///< each takes batch rows for all steps; otherwise hidden units, and all meet every step
    Barrier* barrier;  ///< for `count` threads; null when there is one
};

/// @brief What one instruction set offers for one scalar type. Every result has the same bits for every
/// number of workers and either split.
template <class Real>
struct Kernels {
    /// Reals of scratch that a call needs; the scratch is aligned to 64 bytes and shared by its workers.
    Size (*forward_scratch)(const Forward<Real>& problem);
    void (*forward)(const Forward<Real>& problem, Real* scratch, const Worker& worker);
    Size (*backward_scratch)(const Backward<Real>& problem, int workers);
    void (*backward)(const Backward<Real>& problem, Real* scratch, const Worker& worker);
    /// out[i] = the function of in[i], i < count; for the tests of accuracy.
    void (*activate)(const Activation& activation, const Real* in, Real* out, Size count);
    Size lanes;  ///< numbers in a vector
    Size rows;   ///< batch rows that a block of sums has
};

}  // namespace grus
