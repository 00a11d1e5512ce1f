"""The mathematics of GRU-D before its recurrence: intervals, decays, and what stands in for missing values.

Arrays are time-major, (T, B, F) for F features; m is 1 where a feature was observed, s are the times.

.. code-block:: text

    delta_t = s_t - s_{t-1} + (1 - m_{t-1}) * delta_{t-1},  delta_1 = 0                  (D1)
    gamma_x = exp(-max(0, weight_gamma_x * delta + bias_gamma_x))                        (D2)
    gamma_h = exp(-max(0, delta @ weight_gamma_h.T + bias_gamma_h))                      (D3)
    x^      = m * x + (1 - m) * (gamma_x * x' + (1 - gamma_x) * mean)                    (D4)

x' is the last observation before, the mean where there is none. (D1) is used as what it sums up to: the time since
the last observation before t, or since the first step where there is none.

Source: Che et al. 2018, "Recurrent Neural Networks for Multivariate Time Series with Missing Values",
doi:10.1038/s41598-018-24271-9, equations (2) to (5) there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


class Before(NamedTuple):
    """What is known of each feature before the first step, (B, F) each."""

    x: Array  # the last observation; NaN where there is none
    times: Array  # when that was; the time from which (D1) counts where there is none


class Seen(NamedTuple):
    """When each feature was observed. Of what has T+1 steps the first one is what is known before them."""

    mask: Array  # (T, B, F) bool
    x: Array  # (T+1, B, F)
    times: Array  # (T+1, B, F)
    last: Array  # (T, B, F): the last observation among the T+1, this step's included; 0 where there is none
    since: Array  # (T, B, F): the last one before this step, from which (D1) counts
    delta: Array  # (T, B, F): (D1), in units of the scale


class Filled(NamedTuple):
    """What the recurrence is given, and what backward needs of how it came about."""

    x: Array  # (T, B, F): (D4)
    gamma_x: Array  # (T, B, F)
    gamma_h: Array  # (T, B, H)
    away: Array  # (T, B, F): how far the last observation is from the mean
    active_x: Array  # where the decays are below 1 because of their maximum
    active_h: Array


class FilledGradients(NamedTuple):
    """The gradients of all that entered, but the means."""

    x: Array  # (T+1, B, F)
    times: Array  # (T+1, B)
    parameters: dict[str, Array]


def observe(x: Array, times: Array, scale: float, before: Before | None = None) -> Seen:
    """x (T, B, F) with NaN where nothing was observed, and times (T, B); ``before`` where a sequence goes on."""
    every = np.broadcast_to(times[..., None], x.shape)
    begun = before or Before(
        np.full(x.shape[1:], np.nan, x.dtype), every[0] if len(x) else np.zeros(x.shape[1:], x.dtype)
    )
    x, every = np.concatenate([begun.x[None], x]), np.concatenate([begun.times[None], every])
    mask = ~np.isnan(x)
    last = np.maximum.accumulate(np.where(mask, np.arange(len(x))[:, None, None], 0), axis=0)
    delta = (every[1:] - np.take_along_axis(every, last[:-1], axis=0)) / x.dtype.type(scale)  # (D1)
    return Seen(mask[1:], x, every, last[1:], last[:-1], delta)


def known_after(seen: Seen) -> Before:
    """What the steps leave to those that follow them."""
    last = seen.last[-1:] if len(seen.last) else np.zeros((1, *seen.x.shape[1:]), np.intp)
    return Before(*(np.take_along_axis(each, last, axis=0)[0] for each in (seen.x, seen.times)))


def fill(seen: Seen, mean: Array, parameters: Mapping[str, Array]) -> Filled:
    """The input of the recurrence and the decay of its state."""
    gamma_x, active_x = _decay(parameters["weight_gamma_x"] * seen.delta + parameters["bias_gamma_x"])  # (D2)
    gamma_h, active_h = _decay(seen.delta @ parameters["weight_gamma_h"].T + parameters["bias_gamma_h"])  # (D3)
    observed = np.take_along_axis(seen.x, seen.last, axis=0)
    away = np.where(np.isnan(observed), 0, observed - mean)
    x = np.where(seen.mask, observed, mean + gamma_x * away)  # (D4)
    return Filled(x, gamma_x, gamma_h, away, active_x, active_h)


def fill_backward(
    d_x: Array, d_gamma_h: Array, seen: Seen, filled: Filled, scale: float, parameters: Mapping[str, Array]
) -> FilledGradients:
    """The adjoint of :func:`fill` and :func:`observe`; x and times have T+1 steps, as in :class:`Seen`."""
    rows, features = np.arange(d_x.shape[1])[:, None], np.arange(d_x.shape[2])
    d_missing = np.where(seen.mask, 0, d_x)
    d_a_x = np.where(filled.active_x, -filled.gamma_x * d_missing * filled.away, 0)
    d_a_h = np.where(filled.active_h, -filled.gamma_h * d_gamma_h, 0)
    d_observed = np.zeros_like(seen.x)
    np.add.at(d_observed, (seen.last, rows, features), np.where(seen.mask, d_x, d_x * filled.gamma_x))
    d_delta = (d_a_x * parameters["weight_gamma_x"] + d_a_h @ parameters["weight_gamma_h"]) / d_x.dtype.type(scale)
    d_times = np.zeros(seen.x.shape[:2], d_x.dtype)
    d_times[1:] = d_delta.sum(axis=-1)
    np.subtract.at(d_times, (seen.since, rows), d_delta)
    d_parameters = {
        "weight_gamma_x": (d_a_x * seen.delta).sum(axis=(0, 1)),
        "bias_gamma_x": d_a_x.sum(axis=(0, 1)),
        "weight_gamma_h": _flat(d_a_h).T @ _flat(seen.delta),
        "bias_gamma_h": d_a_h.sum(axis=(0, 1)),
    }
    return FilledGradients(d_observed, d_times, d_parameters)


def _decay(a: Array) -> tuple[Array, Array]:
    """exp(-max(0, a)), and where a counts in it."""
    active = a.real > 0
    return np.exp(-np.where(active, a, 0)), active


def _flat(a: Array) -> Array:
    return a.reshape(-1, a.shape[-1])
