"""Streams: a step at a time gives the bits of the whole sequence, allocates nothing, and can be saved."""

from __future__ import annotations

import copy
import gc
import json
import os
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import grus
from grus import _engine, _session
from grus.activations import Activation
from grus.equations import Formulation, Masks, Weights
from grus.reference import Problem, Steps
from helpers import assert_close
from native_cases import ISAS, STRESS, instruction_set

T, I, H = 12, 6, 19
DTYPES = ("float32", "float64")
ENGINES = ["reference", "native"] if ISAS else ["reference"]


def a_gru(num_layers: int = 1, dtype: str = "float32", **options: Any) -> grus.GRU:
    return grus.GRU(I, H, num_layers, dtype=dtype, init="torch", seed=num_layers, **options)


def random(dtype: str, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def run(stream: grus.Stream, x: np.ndarray) -> np.ndarray:
    """x (B, T, I) gives the outputs (B, T, H), step by step."""
    return np.stack([stream.step(x[:, t]).copy() for t in range(x.shape[1])], axis=1)


# --------------------------------------------------------------------------------------------------- the bits


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_the_bits_of_the_whole_sequence(num_layers: int, dtype: str, isa: str) -> None:
    for batch in (1, 5):
        for options in ({}, {"reset_after": False}, {"activation": "softsign"}, {"bias": False}):
            gru, x = a_gru(num_layers, dtype, **options), random(dtype, batch, T, I)
            h0 = random(dtype, num_layers, batch, H, seed=1)
            with instruction_set(isa):
                expected, stream = gru(x, h0), gru.stream(batch)
            stream.state = h0
            np.testing.assert_array_equal(run(stream, x), expected.output)  # on the set that it was made for
            np.testing.assert_array_equal(stream.state, expected.h_n)


@pytest.mark.parametrize("dtype", [*DTYPES, "complex128"])
def test_the_reference_takes_the_same_steps(dtype: str) -> None:
    gru, x = a_gru(2, dtype), random(dtype, 3, T, I)
    with grus.use_engine("reference"):
        expected, stream = gru(x), gru.stream(3)
    np.testing.assert_array_equal(run(stream, x), expected.output)
    assert isinstance(stream._session, _session.ReferenceSession)
    if dtype != "complex128":
        assert_close(run(gru.stream(3), x), expected.output, "same maths", dtype)


def test_one_sequence_without_a_batch_axis() -> None:
    for engine in ENGINES:
        with grus.use_engine(engine):
            gru, x = a_gru(2), random("float32", T, I)
            stream, other = gru.stream(), gru.stream()
            for t in range(T):
                output = stream.step(x[t])
                assert output.shape == (H,)
                np.testing.assert_array_equal(output, other.step(x[t][None])[0])
            np.testing.assert_array_equal(output, gru(x).output[-1])


OPTIONS: list[dict[str, Any]] = [
    {},
    {"reset": "before"},
    {"reset": "candidate", "blocks": 3},
    {"clip": 0.7, "gain": True},
    {"zoneout": 0.25},
    {"reset": "before", "blocks": 2, "gain": True, "zoneout": 0.4},
]


@pytest.mark.parametrize("decays", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_of_inference(options: dict[str, Any], engine: str, dtype: str, decays: bool) -> None:
    """Two layers, given to a session as a call gives them to an engine."""
    rng, B, H = np.random.default_rng(2), 3, 18

    def draw(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / 2).astype(dtype)

    blocks, clip, zoneout = options.get("blocks", 1), options.get("clip"), options.get("zoneout")
    kinds = [Activation(name) for name in ("tanh", "sigmoid", "sigmoid")]
    form = Formulation(
        options.get("reset", "after"), *(kind.clipped(clip) if clip else kind for kind in kinds), blocks=blocks
    )
    x, h0, decay = draw(T, B, I), draw(2, B, H), rng.random((2, T, B, H)).astype(dtype)
    masks = Masks(zoneout=None if zoneout is None else np.broadcast_to(np.asarray(zoneout, dtype), (T, B, H)))
    problems, expected = [], x
    with grus.use_engine(engine):
        runs_on = _engine.engine(np.dtype(dtype))
        for k in range(2):
            weights = Weights(draw(3 * H, expected.shape[-1]), draw(3 * H, H // blocks), draw(3 * H), draw(3 * H))
            if options.get("gain"):
                weights = weights._replace(gain_ih=draw(3 * H), gain_hh=draw(3 * H))
            steps = Steps(h0[k], decay=decay[k] if decays else None)
            problem = Problem(expected, h0[k], weights, form, steps, masks)
            expected = np.empty((T, B, H), dtype)
            runs_on.sequences_forward([(expected, problem, False)])
            at_once = masks if zoneout is None else Masks(zoneout=np.array(masks.zoneout[:1]))
            problems.append(problem._replace(x=problem.x[:1], steps=Steps(h0[k]), masks=at_once))
        states = np.stack([h0, np.zeros_like(h0)])
        session = _session.session(runs_on, problems, states)
    for t in range(T):
        output = session.step(x[t], np.ascontiguousarray(decay[:, t]) if decays else None)
        np.testing.assert_array_equal(output, expected[t])


def test_a_decay_now_and_then() -> None:
    for engine in ENGINES:
        with grus.use_engine(engine):
            gru, x = a_gru(2), random("float32", 3, T, I)
            stream, decay = gru.stream(3), random("float32", 2, 3, H, seed=4)
            for t in range(T):
                before = stream.state
                given = decay if t % 3 else None
                if t % 3 == 2:  # an array that is read as a copy
                    given = np.repeat(decay, 2, axis=1)[:, ::2]
                output = stream.step(x[:, t], given)
                expected = gru.step(x[:, t], before if given is None else decay * before)
                assert_close(output, expected[-1], "same maths", "float32")


# --------------------------------------------------------------------------------------------- what is given


def misaligned(a: np.ndarray) -> np.ndarray:
    """A copy that begins a byte after a number could."""
    result = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    result[...] = a
    assert not result.flags.aligned
    return result


def test_any_strides_and_alignment() -> None:
    for engine in ENGINES:
        with grus.use_engine(engine):
            gru, x = a_gru(), random("float32", 5, T, I)
            expected = gru(x).output
            ways = {
                "rows apart": lambda a: a,
                "Fortran": np.asfortranarray,
                "every second": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
                "rows backwards": lambda a: np.ascontiguousarray(a[::-1])[::-1],
                "read-only": lambda a: np.broadcast_to(a, a.shape),
                "misaligned": misaligned,
            }
            for name, way in ways.items():
                stream = gru.stream(5)
                for t in range(T):
                    np.testing.assert_array_equal(stream.step(way(x[:, t])), expected[:, t], err_msg=name)


def test_outputs_can_be_inputs() -> None:
    """Those of the last step, and those that the next step overwrites."""
    for engine in ENGINES:
        with grus.use_engine(engine):
            gru, x = grus.GRU(H, H, 2, init="torch", seed=0), random("float32", H)
            for age in (1, 2):
                stream, outputs, copies = gru.stream(), [x] * age, [x] * age
                plain = gru.stream()
                for _ in range(T):
                    outputs.append(stream.step(outputs[-age]))
                    copies.append(plain.step(copies[-age]).copy())
                    np.testing.assert_array_equal(outputs[-1], copies[-1])


def test_an_output_is_read_only_and_reused() -> None:
    for engine in ENGINES:
        with grus.use_engine(engine):
            stream, x = a_gru().stream(), random("float32", T, I)
            outputs = [stream.step(x_t) for x_t in x]
            assert len({output.__array_interface__["data"][0] for output in outputs}) == 2
            with pytest.raises(ValueError, match="read-only"):
                outputs[0][0] = 1


@pytest.mark.parametrize("engine", ENGINES)
def test_what_does_not_fit_changes_nothing(engine: str) -> None:
    with grus.use_engine(engine):
        one, stream = a_gru().stream(), a_gru(2).stream(5)
    x, wide = random("float32", 5, I), np.zeros((5, I))
    one.step(x[0])
    stream.step(x)
    before = one.state, stream.state
    nothing = np.zeros((0, I), "float32")
    for value in (x[0], x[:4], x[:, :5], x[None], nothing, x[0, 0], wide, x > 0, None, "abc", b"abc", [[1.0]]):
        with pytest.raises((ValueError, TypeError), match=r"^x_t must"):
            stream.step(value)
    for value in (x, x[0, :5], nothing, x[0, 0], wide[0], x.astype(">f4")[0], x.astype("complex64")[0], object()):
        with pytest.raises((ValueError, TypeError), match=r"^x_t must"):
            one.step(value)
    for value in (x, np.zeros((2, 5, H)), np.zeros((5, H), "float32"), np.zeros((1, 5, H), "float32"), 0.5):
        with pytest.raises((ValueError, TypeError), match=r"^decay must"):
            stream.step(x, value)
    np.testing.assert_array_equal(one.state, before[0])
    np.testing.assert_array_equal(stream.state, before[1])


# -------------------------------------------------------------------------------------------- state and copies


def test_reset_of_some_rows() -> None:
    gru, x = a_gru(2), random("float32", 5, T, I)
    stream, fresh = gru.stream(5), run(gru.stream(5), x)
    begun = random("float32", 2, H, seed=3)
    for rows, numbers in (
        ([0, 3], [0, 3]),
        (2, [2]),
        (np.arange(5) > 2, [3, 4]),
        ([], []),
        (None, list(range(5))),
    ):
        for state in (None, begun, np.repeat(begun[:, None], len(numbers), axis=1)):
            run(stream, x)
            others, before = [b for b in range(5) if b not in numbers], stream.state
            stream.reset(rows, state)
            np.testing.assert_array_equal(stream.state[:, others], before[:, others])
            expected = np.zeros((2, 1, H)) if state is None else begun[:, None]
            np.testing.assert_array_equal(stream.state[:, numbers], np.repeat(expected, len(numbers), axis=1))
            if state is None:
                np.testing.assert_array_equal(run(stream, x)[numbers], fresh[numbers])


def test_the_state_is_a_copy_and_can_be_set() -> None:
    gru, x = a_gru(2), random("float32", 3, T, I)
    stream = gru.stream(3)
    run(stream, x[:, :5])
    state = stream.state
    kept = state.copy()
    rest = run(stream, x[:, 5:])
    np.testing.assert_array_equal(state, kept)
    stream.state = state
    state[...] = 9
    np.testing.assert_array_equal(run(stream, x[:, 5:]), rest)
    with pytest.raises(ValueError, match=r"^state must have shape \(2, 3, 19\)"):
        stream.state = kept[:, :2]


def test_it_starts_where_the_input_rests() -> None:
    gru, x0 = a_gru(2, "float64"), random("float64", I)
    stream = gru.stream(3)
    stream.reset(state=(h := gru.rest_state(x0)))
    for _ in range(100):
        output = stream.step(np.repeat(x0[None], 3, axis=0))
    assert abs(output - h[-1]).max() < 1e-14


def test_parameters_are_bound_until_refreshed() -> None:
    for engine in ENGINES:
        with grus.use_engine(engine):
            gru, x = a_gru(2), random("float32", 3, T, I)
            stream, old = gru.stream(3), run(gru.stream(3), x)
            gru.flat[...] *= 0.5
            np.testing.assert_array_equal(run(stream, x), old)
            for steps in (4, 5):  # the state stays, whichever half it is in
                stream.reset()
                run(stream, x[:, :steps])
                state = stream.state
                stream.refresh()
                np.testing.assert_array_equal(stream.state, state)
                np.testing.assert_array_equal(run(stream, x[:, steps:]), gru(x[:, steps:], state).output)
            gru.flat[...] *= 2


def test_copies_go_on_by_themselves() -> None:
    gru, x = a_gru(2), random("float32", 3, T, I)
    stream = gru.stream(3)
    run(stream, x[:, :5])
    gru.flat[...] *= 0.5  # a copy has the parameters that are bound
    copies = [copy.deepcopy(stream), copy.copy(stream), pickle.loads(pickle.dumps(stream))]
    state, rest = stream.state, run(stream, x[:, 5:])
    for each in copies:
        np.testing.assert_array_equal(each.state, state)
        np.testing.assert_array_equal(run(each, x[:, 5:]), rest)
    assert repr(copies[0]) == repr(stream) == f"Stream({gru!r}, batch_size=3)"


# ------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("dtype", DTYPES)
def test_saved_and_continued(dtype: str, tmp_path: Path) -> None:
    gru, x = a_gru(2, dtype), random(dtype, 3, T, I)
    expected = gru(x).output
    for steps in (4, 5):
        stream = gru.stream(3)
        run(stream, x[:, :steps])
        stream.save(tmp_path / "state")
        run(stream, x)
        for other in (gru.stream(3), stream):
            other.load(tmp_path / "state")
            np.testing.assert_array_equal(run(other, x[:, steps:]), expected[:, steps:])
    assert [file.name for file in tmp_path.iterdir()] == ["state"]


def test_what_only_training_knows_may_differ(tmp_path: Path) -> None:
    a_gru().stream().save(tmp_path / "state")
    for options in ({"batch_first": False, "save": "outputs"}, {"dropout": 0.5, "update_bias": 1.0}):
        a_gru(**options).stream().load(tmp_path / "state")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_layers": 2}, r"must hold the state of a GRU with num_layers=2, as this stream's; got 1\."),
        ({"hidden_size": 4}, r"with hidden_size=4, as this stream's; got 19\."),
        ({"input_size": 4}, r"with input_size=4, as this stream's; got 6\."),
        ({"reset_after": False}, r"with formulation='before', as this stream's; got 'after'\."),
        ({"dtype": "float64"}, r"with dtype='float64', as this stream's; got 'float32'\."),
        ({"activation": "relu"}, r"with activation={'name': 'relu'}, as this stream's; got {'name': 'tanh'}\."),
    ],
)
def test_another_models_state_is_refused(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    a_gru().stream().save(tmp_path / "state")
    stream = grus.GRU(**({"input_size": I, "hidden_size": H, "seed": 0} | options)).stream()
    with pytest.raises(ValueError, match=said):
        stream.load(tmp_path / "state")


def test_other_and_damaged_files_are_refused(tmp_path: Path) -> None:
    path, stream = tmp_path / "file", a_gru().stream()
    stream.step(random("float32", I))
    before = stream.state
    a_gru().stream(2).save(path)
    said = r"a state of shape \(1, 1, 19\) and dtype float32, as this stream's; got \(1, 2, 19\) and float32\."
    with pytest.raises(ValueError, match=said):
        stream.load(path)
    grus.save(a_gru(), path)
    with pytest.raises(ValueError, match=r"must be a file that Stream\.save wrote; got one that holds GRU\."):
        stream.load(path)
    stream.save(path)
    with pytest.raises(ValueError, match=r"the kind of model in the file must be one of .*; got 'Stream'\."):
        grus.load(path)
    header = {"format": 1, "grus_version": "9.0", "kind": "Stream", "config": a_gru().config()}
    for text, arrays, said in (
        ("{not json", {"state": before}, "has a damaged header"),
        ("[]", {"state": before}, "has a damaged header"),
        (
            json.dumps(header | {"format": 2}),
            {"state": before},
            r"by grus 9\.0 in format 2; this grus .* up to format 1",
        ),
        (json.dumps(header), {"other": before}, "is a damaged stream file: it has no state or no configuration"),
        (json.dumps(header | {"config": 1}), {"state": before}, "it has no state or no configuration"),
        (json.dumps(header), {"state": before.astype(float)}, r"got \(1, 1, 19\) and float64\."),
    ):
        path.write_bytes(safetensors.numpy.save(arrays, {"grus": text}))
        with pytest.raises(ValueError, match=said):
            stream.load(path)
    path.write_bytes(b"cut")
    with pytest.raises(ValueError, match="is not a stream file of grus"):
        stream.load(path)
    with pytest.raises(FileNotFoundError, match="there is no stream file at"):
        stream.load(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="does not exist; make it"):
        stream.save(tmp_path / "no" / "file")
    with pytest.raises(ValueError, match=r"the state of a complex128 GRU can't be saved; use float64\."):
        a_gru(dtype="complex128").stream().save(path)
    np.testing.assert_array_equal(stream.state, before)


# ----------------------------------------------------------------------------------------- memory and threads


def resident() -> int:
    """Bytes of memory that this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not ISAS, reason="no compiled kernels for this processor")
def test_steps_allocate_nothing() -> None:
    steps = 1_000_000 if STRESS else 20_000
    with grus.use_engine("native"):
        streams = [(a_gru(2).stream(batch), random("float32", 2, batch, I)) for batch in (1, 5)]
    for stream, x in streams:
        for t in range(100):  # what is made once
            stream.step(x[t % 2])
        gc.collect()
        memory = resident() if os.path.exists("/proc/self/statm") else None
        for t in range(steps):
            stream.step(x[t % 2])
        if memory is not None:
            assert resident() - memory < 256 * 1024
        tracemalloc.start()
        try:
            stream.step(x[0])
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            for t in range(steps // 10):
                stream.step(x[t % 2])
            after, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert after - before < 512  # the loop's own
        assert peak - before < 4096  # a view of x, at most


@pytest.mark.parametrize("sizes", [(1, 8, 16), (4, 64, 300)], ids=["small", "large enough to let others run"])
def test_streams_of_one_model_in_threads(sizes: tuple[int, int, int]) -> None:
    batch, width, units = sizes
    gru = grus.GRU(width, units, 2, seed=0)
    xs = [random("float32", batch, 60, width, seed=seed) for seed in range(4)]
    grus.set_num_threads(1)  # of the calls; streams have none
    expected = [gru(x).output for x in xs]
    grus.set_num_threads(None)
    with ThreadPoolExecutor(4) as executor:
        for found, right in zip(executor.map(lambda x: run(gru.stream(batch), x), xs), expected, strict=True):
            np.testing.assert_array_equal(found, right)


@pytest.mark.skipif(not ISAS, reason="no compiled kernels for this processor")
def test_one_stream_in_threads_takes_every_step() -> None:
    """In an unknown order, which no one should want; but each step is one."""
    gru, x, each = grus.GRU(64, 300, seed=0), random("float32", 4, 64), 50
    with grus.use_engine("native"):
        stream, expected = gru.stream(4), gru(np.repeat(x[:, None], 4 * each, axis=1)).h_n
    with ThreadPoolExecutor(4) as executor:
        list(executor.map(lambda _: [stream.step(x) for _ in range(each)], range(4)))
    np.testing.assert_array_equal(stream.state, expected)
