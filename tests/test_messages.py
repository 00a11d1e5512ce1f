"""Every message of the core in full, from the public call that brings it about; no raise is without a row."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import grus
from grus import _core, _engine, nn

MODULES = (
    "_check", "_checkpoint", "_engine", "_formulation", "_gradcheck", "_initialise", "_layout", "_masks",
    "_per_sample", "_rest", "_stack", "_trace", "activations", "derivatives", "equations", "functional", "layer",
    "parameters", "reference", "stream",
)  # fmt: skip
FOLDER = Path(grus.__file__).parent

RNG = np.random.default_rng(0)
GRU = grus.GRU(2, 3, seed=0)
CHECKPOINTED = grus.GRU(2, 3, checkpoint_every=2, seed=0)
X = RNG.standard_normal((4, 5, 2)).astype("float32")  # (B, T, I) of GRU
TIME_MAJOR = X.swapaxes(0, 1)
H0 = RNG.standard_normal((1, 4, 3)).astype("float32")
PARAMS = grus.GRUParams.random(2, 3, rng=0)
ONES = np.ones((4, 5), bool)
STATE = GRU.state_dict()
GATES = (
    "identity, tanh, sigmoid, relu, leaky_relu, elu, softsign, hard_sigmoid, affine, thresholded_relu, "
    "scaled_tanh, softplus, hard_sigmoid_keras2"
)
ISAS = _core.available_instruction_sets()
ENGINES = ["reference", "native"] if ISAS else ["reference"]
ROWS: list[Any] = []


def row(name: str, error: type[Exception], text: str, call: Callable[[], Any]) -> None:
    """One misuse and the whole of what it says."""
    ROWS.append(pytest.param(call, error, text, id=name))


def build(**options: Any) -> Callable[[], grus.GRU]:
    return lambda: grus.GRU(**({"input_size": 2, "hidden_size": 3} | options))


def run(**options: Any) -> Callable[[], Any]:
    return lambda: GRU(**({"x": X} | options))


def run_one(x: Any = TIME_MAJOR, params: Any = PARAMS, **options: Any) -> Callable[[], Any]:
    return lambda: grus.gru_forward(x, None, params, **options)


def back(*d: Any, **options: Any) -> Callable[[], Any]:
    return lambda: GRU.backward(GRU.forward(X).tape, *d, **options)


def used_tape(gru: grus.GRU = GRU) -> Any:
    tape = gru.forward(X).tape
    gru.backward(tape)
    return tape


def jvp(gru: grus.GRU = GRU, **options: Any) -> Callable[[], Any]:
    return lambda: gru.jvp(**({"x": X} | options))


def hvp(gru: grus.GRU = GRU, **options: Any) -> Callable[[], Any]:
    return lambda: gru.hvp(**({"x": X, "loss_gradient": lambda output, h_n: (output, h_n)} | options))


# ---------------------------------------------------------------------------------------- sizes and other numbers

for name in ("input_size", "hidden_size", "num_layers"):
    row(
        f"{name} is a text",
        TypeError,
        f"{name} must be a whole number; got '2' of type str.",
        build(**{name: "2"}),
    )
    row(f"{name} is 0", ValueError, f"{name} must be at least 1; got 0.", build(**{name: 0}))
row(
    "size None",
    TypeError,
    "hidden_size must be a whole number; got None of type NoneType.",
    build(hidden_size=None),
)
row("size 2.0", TypeError, "hidden_size must be a whole number; got 2.0 of type float.", build(hidden_size=2.0))
row("size negative", ValueError, "hidden_size must be at least 1; got -4.", build(hidden_size=-4))
row("size bool", TypeError, "num_layers must be a whole number; got the boolean True.", build(num_layers=True))
row(
    "random parameters of no size", ValueError, "hidden_size must be at least 1; got 0.",
    lambda: grus.GRUParams.random(2, 0, rng=0),
)  # fmt: skip
row("rate None", TypeError, "dropout must be a number; got None of type NoneType.", build(dropout=None))
row("rate text", TypeError, "dropout must be a number; got '0.5' of type str.", build(dropout="0.5"))
row("rate bool", TypeError, "dropout must be a number; got False of type bool.", build(dropout=False))
row("rate list", TypeError, "dropout must be a number; got [0.5] of type list.", build(dropout=[0.5]))
row(
    "rate array", TypeError, "dropout must be a number; got array([0.5]) of type ndarray.",
    build(dropout=np.array([0.5])),
)  # fmt: skip
row("rate complex", TypeError, "dropout must be a number; got 1j of type complex.", build(dropout=1j))
row("rate NaN", ValueError, "dropout must be finite; got nan.", build(dropout=np.nan))
row("number too large for a float", ValueError, "update_bias must be finite; got inf.", build(update_bias=10**400))
row("rate 1", ValueError, "dropout must be at least 0 and below 1; got 1.", build(dropout=1))
row("rate -0.1", ValueError, "dropout must be at least 0 and below 1; got -0.1.", build(dropout=-0.1))
row(
    "alpha 0", ValueError, "alpha of activation 'elu' must be above 0; got 0.",
    lambda: grus.Activation("elu", alpha=0),
)  # fmt: skip
row("decay -1", ValueError, "weight_decay must be at least 0; got -1.", lambda: nn.SGD(weight_decay=-1))
for name in ("bias", "batch_first", "bidirectional", "reverse", "reset_after"):
    row(f"{name} is 1", TypeError, f"{name} must be True or False; got 1 of type int.", build(**{name: 1}))
for name in ("reverse", "training"):
    row(f"{name} text", TypeError, f"{name} must be True or False; got 'no' of type str.", run_one(**{name: "no"}))
row(
    "update_bias without biases", ValueError, "update_bias must be 0 because bias is False; got 1.5.",
    build(update_bias=1.5, bias=False),
)  # fmt: skip
for name, seed in {"text": "one", "negative": -1, "fraction": 0.5}.items():
    text = f"must be a whole number of at least 0 or a numpy.random.Generator; got {seed!r}."
    row(f"seed {name}", ValueError, f"seed {text}", build(seed=seed))
    row(f"rng {name}", ValueError, f"rng {text}", lambda rng=seed: grus.gradcheck(GRU, X, rng=rng))

# ------------------------------------------------------------------------------------------------------- options

row("blocks", ValueError, "blocks must divide hidden_size 3; got 2.", build(blocks=2))
row("GRU, blocks 0", ValueError, "blocks must be at least 1; got 0.", build(blocks=0))
row("GRU, clip 0", ValueError, "clip must be above 0; got 0.", build(clip=0))
row("gradient_clip -1", ValueError, "gradient_clip must be above 0; got -1.", build(gradient_clip=-1))
row("GRU, truncate -1", ValueError, "truncate must be at least 0; got -1.", build(truncate=-1))
row(
    "truncate and gradient_clip", ValueError,
    "gradient_clip must be None where truncate is 3; got 0.5. Truncated gradients go back one by one, and there "
    "is no sum of them to cut.",
    build(truncate=3, gradient_clip=0.5),
)  # fmt: skip
row(
    "formulation", ValueError, "formulation must be one of after, before, candidate; got 'v3'.",
    build(formulation="v3"),
)  # fmt: skip
row(
    "formulation list", ValueError,
    "formulation must be one of after, before, candidate; got ['after']. Did you mean 'after'?",
    build(formulation=["after"]),
)  # fmt: skip
row(
    "formulation and reset_after", ValueError,
    "formulation must be 'before' where reset_after is False; got 'candidate'.",
    build(formulation="candidate", reset_after=False),
)  # fmt: skip
for name in ("layer_norm", "learn_h0"):
    row(f"{name} is 1", TypeError, f"{name} must be True or False; got 1 of type int.", build(**{name: 1}))
for name in ("input_dropout", "recurrent_dropout", "weight_dropout", "zoneout"):
    row(f"{name} 1", ValueError, f"{name} must be at least 0 and below 1; got 1.", build(**{name: 1}))
row(
    "init of an unknown parameter", ValueError,
    "init takes weight_ih, weight_hh, bias_ih, bias_hh; got 'weights'. Did you mean 'weight_ih'?",
    build(init={"weights": "zeros"}),
)  # fmt: skip
row(
    "init of no bias", ValueError, "init takes weight_ih, weight_hh; got 'bias_ih'.",
    build(init={"bias_ih": "zeros"}, bias=False),
)  # fmt: skip
row(
    "init of weights", ValueError,
    "init['weight_hh'] must be one of orthogonal, glorot_uniform, identity, uniform, zeros, ones; got 'he'.",
    build(init={"weight_hh": ("zeros", "he", 0)}),
)  # fmt: skip
row(
    "init of biases", ValueError, "init['bias_hh'] must be one of uniform, zeros, ones; got 'identity'.",
    build(init={"bias_hh": "identity"}),
)  # fmt: skip
row(
    "init of two gates", ValueError,
    "init['weight_ih'] must be one initialiser or three, of r, z and n; got 2.",
    build(init={"weight_ih": ["zeros", "ones"]}),
)  # fmt: skip
row(
    "init NaN", ValueError, "init['bias_ih'] must be finite; got nan.", build(init={"bias_ih": np.nan}),
)  # fmt: skip
for shape in ((5, 4, 3), (4, 5, 2), (4, 5)):
    why = "that is the shape of x but for the last axis, which is hidden_size 3 or 1"
    text = f"decay must have shape (4, 5, 3) because {why}; got {shape}."
    row(f"decay {shape}", ValueError, text, run(decay=np.zeros(shape, "float32")))
row(
    "decay float64", TypeError,
    "decay must be float32 because x and the parameters are; got float64. Pass decay.astype('float32').",
    run(decay=np.zeros((4, 5, 3))),
)  # fmt: skip
row(
    "decay of a step", ValueError,
    "decay must have shape (4, 3) because that is the shape of x_t but for the last axis, which is hidden_size 3 "
    "or 1; got (4, 5).",
    lambda: GRU.step(X[:, 0], decay=np.zeros((4, 5), "float32")),
)  # fmt: skip

# ---------------------------------------------------------------------------------------------- names and dtypes

row("init", ValueError, "init must be one of orthogonal, torch; got 'xavier'.", build(init="xavier"))
row("save", ValueError, "save must be one of gates, outputs; got 'all'.", build(save="all"))
row("init number", ValueError, "init must be one of orthogonal, torch; got 3.", build(init=3))
row(
    "init near", ValueError, "init must be one of orthogonal, torch; got 'orthogonl'. Did you mean 'orthogonal'?",
    build(init="orthogonl"),
)  # fmt: skip
row(
    "engine", ValueError, f"engine must be one of {', '.join(ENGINES)}; got 'gpu'.",
    lambda: grus.use_engine("gpu").__enter__(),
)  # fmt: skip
row(
    "GRUS_ISA", RuntimeError,
    f"GRUS_ISA must be one of {', '.join(ISAS) or 'none'} on this machine; got 'sse9'. Unset it for the best one.",
    lambda: _engine._use_named_instruction_set("sse9", ISAS),
)  # fmt: skip
for name, value, got in (
    ("activation", "tahn", "'tahn'. Did you mean 'tanh'?"),
    ("activation", None, "None."),
    ("activation", 3, "3."),
    ("activation", {"alpha": 1}, "None."),
    ("gate_activation", "sigmod", "'sigmod'. Did you mean 'sigmoid'?"),
    ("gate_activation", ("tanh", None), "None."),
):
    text = f"{name} must be one of {GATES}, softmax; got {got}"
    row(f"{name} {value}", ValueError, text, build(**{name: value}))
row(
    "softmax gate", ValueError,
    f"a gate's activation must be one of {GATES}; got 'softmax', which mixes the units: put it in a Dense layer "
    "after the GRU.",
    build(activation="softmax"),
)  # fmt: skip
row(
    "three gate activations", ValueError,
    "gate_activation must be one activation or a pair (reset, update); got 3.",
    build(gate_activation=["sigmoid"] * 3),
)  # fmt: skip
row(
    "parameter of another activation", ValueError, "activation 'elu' takes alpha; got 'beta'.",
    lambda: grus.Activation("elu", beta=1),
)  # fmt: skip
row(
    "parameter of none", ValueError, "activation 'tanh' takes no parameters; got 'alpha'.",
    build(activation={"name": "tanh", "alpha": 1}),
)  # fmt: skip
row(
    "alpha text", TypeError, "alpha of activation 'elu' must be a number; got 'x' of type str.",
    lambda: grus.Activation("elu", alpha="x"),
)  # fmt: skip
row(
    "beta NaN", ValueError, "beta of activation 'hard_sigmoid' must be finite; got nan.",
    lambda: grus.Activation("hard_sigmoid", beta=np.nan),
)  # fmt: skip
for key in ("alpha", "beta"):
    row(
        f"{key} 0 of scaled_tanh", ValueError, f"{key} of activation 'scaled_tanh' must not be 0; got 0.",
        lambda key=key: grus.Activation("scaled_tanh", **{key: 0}),
    )  # fmt: skip
row(
    "alpha of thresholded_relu", ValueError, "alpha of activation 'thresholded_relu' must be at least 0; got -1.",
    lambda: grus.Activation("thresholded_relu", alpha=-1),
)  # fmt: skip
row(
    "alpha of elu", ValueError, "alpha of activation 'elu' must be above 0; got 0.",
    lambda: grus.Activation("elu", alpha=0),
)  # fmt: skip
row(
    "softmax derivative", ValueError, "activation 'softmax' has no elementwise derivative. Use backward(dy, y).",
    lambda: grus.Activation("softmax").derivative(X),
)  # fmt: skip
row(
    "activation of integers", TypeError,
    "a must be float32 or float64 or complex128; got int64. Pass a.astype('float32').",
    lambda: grus.Activation("tanh")(np.arange(3, dtype="int64")),
)  # fmt: skip
for value, got in (
    (None, "None"), ("float16", "'float16'"), ("junk", "'junk'"), (int, "<class 'int'>"), (">f4", "'>f4'"),
    ({"names": 3}, "{'names': 3}"),
):  # fmt: skip
    text = f"dtype must be one of float32, float64, complex128; got {got}."
    row(f"dtype {got}", ValueError, text, build(dtype=value))

# --------------------------------------------------------------------------------------------------- x and states

for name, value, got in (
    ("None", None, "None."),
    ("text", "abc", "<U3."),
    ("objects", X.astype(object), "object."),
    ("list", X.astype(float).tolist(), "float64. Pass np.asarray(x, 'float32')."),
    ("float64", X.astype("float64"), "float64. Pass x.astype('float32')."),
    ("float16", X.astype("float16"), "float16. Pass x.astype('float32')."),
    ("int", X.astype("int64"), "int64. Pass x.astype('float32')."),
    ("bool", X > 0, "bool. Pass x.astype('float32')."),
    ("complex", X.astype("complex128"), "complex128."),
    ("other byte order", X.astype(X.dtype.newbyteorder()), f"{X.dtype.newbyteorder()}. Pass x.astype('float32')."),
):
    row(f"x {name}", TypeError, f"x must be float32 because that is this GRU's dtype; got {got}", run(x=value))
row(
    "x ragged", ValueError, "x must be an array; got a list whose rows differ in length.",
    run(x=[[1.0, 2.0], [3.0]]),
)  # fmt: skip
for shape in ((), (2,), (4, 5, 3), (1, 4, 5, 2)):
    text = f"x must have shape (B, T, 2) because input_size is 2; got {shape}."
    row(f"x {shape}", ValueError, text, run(x=np.zeros(shape, "float32")))
row(
    "x time-major", ValueError, "x must have shape (T, B, 2) because input_size is 2; got (5, 4, 3).",
    lambda: grus.GRU(2, 3, batch_first=False)(np.zeros((5, 4, 3), "float32")),
)  # fmt: skip
row(
    "x without a batch axis", ValueError,
    "x must have shape (T, 2) because input_size is 2 and x has no batch axis; got (5, 3).",
    run(x=np.zeros((5, 3), "float32")),
)  # fmt: skip
for name, reset in (("h0", None), ("reset_state", np.ones((4, 5), bool))):
    why = "because that is (layers*directions, B, hidden_size)"
    text = f"{name} must have shape (1, 4, 3) {why}; got (2, 4, 3)."
    row(f"{name} of two layers", ValueError, text, run(reset=reset, **{name: np.zeros((2, 4, 3), "float32")}))
    text = f"{name} must have shape (1, 4, 3) {why}; got (4, 3)."
    row(f"{name} of no layer", ValueError, text, run(reset=reset, **{name: H0[0]}))
    text = f"{name} must be float32 because x and the parameters are; got float64. Pass {name}.astype('float32')."
    row(f"{name} float64", TypeError, text, run(reset=reset, **{name: H0.astype(float)}))
row(
    "h0 with a batch axis that x has not", ValueError,
    "h0 must have shape (1, 3) because that is (layers*directions, hidden_size); got (1, 4, 3).",
    run(x=X[0], h0=H0),
)  # fmt: skip
row(
    "x_t", ValueError, "x_t must have shape (B, 2) because input_size is 2; got (4, 5, 2).",
    lambda: GRU.step(X),
)  # fmt: skip
row(
    "x_t float64", TypeError,
    "x_t must be float32 because that is this GRU's dtype; got float64. Pass x_t.astype('float32').",
    lambda: GRU.step(X[:, 0].astype(float)),
)  # fmt: skip
row(
    "step of both directions", ValueError,
    "step needs a GRU with bidirectional=False: the reverse direction starts at the end.",
    lambda: grus.GRU(2, 3, bidirectional=True).step(X[:, 0]),
)  # fmt: skip

STREAM = GRU.stream(4)
for shape in ((2,), (3, 2), (4, 5), (1, 4, 2)):
    text = f"x_t must have shape (4, 2) because batch_size is 4 and input_size is 2; got {shape}."
    row(f"x_t {shape} of a stream", ValueError, text, lambda s=shape: STREAM.step(np.zeros(s, "float32")))
row(
    "x_t float64 of a stream", TypeError,
    "x_t must be float32 because that is this GRU's dtype; got float64. Pass x_t.astype('float32').",
    lambda: STREAM.step(X[:, 0].astype(float)),
)  # fmt: skip
row(
    "x_t None of a stream", TypeError, "x_t must be float32 because that is this GRU's dtype; got None.",
    lambda: STREAM.step(None),
)  # fmt: skip
row(
    "decay of a stream", ValueError,
    "decay must have shape (1, 4, 3) because that is (layers, B, hidden_size); got (4, 3).",
    lambda: STREAM.step(X[:, 0], H0[0]),
)  # fmt: skip
row(
    "stream of both directions", ValueError,
    "stream needs a GRU with bidirectional=False: the reverse direction starts at the end.",
    lambda: grus.GRU(2, 3, bidirectional=True).stream(),
)  # fmt: skip
row(
    "stream of a reverse GRU", ValueError,
    "stream needs a GRU with reverse=False: a reverse GRU starts at the end of a sequence.",
    lambda: grus.GRU(2, 3, reverse=True).stream(),
)  # fmt: skip
row(
    "reverse of both directions", ValueError,
    "reverse must be False where bidirectional is True, because both directions are there; got True.",
    build(reverse=True, bidirectional=True),
)  # fmt: skip
row("stream of no rows", ValueError, "batch_size must be at least 1; got 0.", lambda: GRU.stream(0))
for value, got in ((4, 4), (-1, -1), ([0, 3, 9], 9)):
    text = f"rows must be in 0 ... 3, because batch_size is 4; got {got}."
    row(f"rows {value}", ValueError, text, lambda value=value: STREAM.reset(value))
row(
    "rows float", TypeError, "rows must be whole numbers or booleans; got dtype float64.",
    lambda: STREAM.reset([1.0]),
)  # fmt: skip
row(
    "rows mask", ValueError, "rows must have shape (4,) because batch_size is 4; got (3,).",
    lambda: STREAM.reset([True, False, True]),
)  # fmt: skip
row(
    "rows of rows", ValueError, "rows must have shape (rows,) because it lists rows of the batch; got (1, 2).",
    lambda: STREAM.reset([[0, 1]]),
)  # fmt: skip
row(
    "state of a stream", ValueError,
    "state must have shape (1, 2, 3) because that is (layers, rows, hidden_size); got (1, 4, 3).",
    lambda: STREAM.reset([0, 2], H0),
)  # fmt: skip
row(
    "state of a stream in each row", ValueError,
    "state must have shape (1, 3) because that is (layers, hidden_size); got (4, 3).",
    lambda: STREAM.reset(None, H0[0]),
)  # fmt: skip
row(
    "state float64 of a stream", TypeError,
    "state must be float32 because that is this GRU's dtype; got float64. Pass state.astype('float32').",
    lambda: STREAM.reset(None, H0.astype(float)),
)  # fmt: skip
row(
    "x0", ValueError, "x0 must have shape (B, 2) because input_size is 2; got (4, 5, 2).",
    lambda: GRU.rest_state(X),
)  # fmt: skip
row(
    "x0 float64", TypeError,
    "x0 must be float32 because that is this GRU's dtype; got float64. Pass x0.astype('float32').",
    lambda: GRU.rest_state(X[:, 0].astype(float)),
)  # fmt: skip
row(
    "x0 NaN", ValueError,
    "x0 must be finite; got 1 NaN or infinite values, the first at (1,). "
    "A state can only rest under an input that is a number.",
    lambda: GRU.rest_state(np.array([0, np.nan], "float32")),
)  # fmt: skip
row(
    "rest of both directions", ValueError,
    "rest_state needs a GRU with bidirectional=False: the reverse direction starts at the end.",
    lambda: grus.GRU(2, 3, bidirectional=True).rest_state(X[:, 0]),
)  # fmt: skip


def no_rest(weight: float, bias: float) -> Callable[[], Any]:
    """Of one unit with n = weight * h + bias, r = 1 and z = 0."""
    gru = grus.GRU(1, 1, activation="identity", gate_activation="hard_sigmoid", dtype="float64", seed=0)
    gru.flat[...] = 0, 0, 0, 0, 0, weight, 9, -9, bias, 0, 0, 0
    return lambda: gru.rest_state(np.zeros(1))


row(
    "a state that grows", RuntimeError,
    "layer 0 has no rest state for row 0 of x0: the nearest found still moves by 1 a step. The state may "
    "oscillate or grow without bounds: look at GRU.trace over a long constant input.",
    no_rest(1, 1),
)  # fmt: skip
row(
    "a state that is left", RuntimeError,
    "layer 0 has no rest state for row 0 of x0: it has a fixed point (it moves by 0 a step), but states near it "
    "go away from it, by a factor of 2 a step. The state oscillates, or rests elsewhere: look at GRU.trace over a "
    "long constant input, and take as h0 a state that it comes to.",
    no_rest(2, 0),
)  # fmt: skip

# --------------------------------------------------------------------------------------- lengths, masks and resets

for name, value, got in (
    ("fractions", [1.0, 2, 3, 4], "float64. Pass np.asarray(lengths, int)."),
    ("bools", [True] * 4, "bool."),
    ("text", "abcd", "<U4."),
    ("None inside", [1, 2, None, 3], "object."),
):
    row(f"lengths {name}", TypeError, f"lengths must be whole numbers; got dtype {got}", run(lengths=value))
for name, value, got in (
    ("scalar", 3, "()"),
    ("long", [1] * 5, "(5,)"),
    ("column", [[1], [2], [3], [4]], "(4, 1)"),
):
    text = f"lengths must have shape (4,) because x holds 4 sequences; got {got}."
    row(f"lengths {name}", ValueError, text, run(lengths=value))
for value in (-1, 6):
    text = f"lengths must be in 0 ... 5 (the steps of x); got {value} in row 2."
    row(f"lengths {value}", ValueError, text, run(lengths=[0, 5, value, 7]))
row(
    "lengths ragged", ValueError, "lengths must be an array; got a list whose rows differ in length.",
    run(lengths=[[1], [2, 3]]),
)  # fmt: skip
row(
    "lengths of one sequence", ValueError,
    "lengths must have shape () because x has no batch axis; got (3,).",
    run(x=X[0], lengths=[1, 2, 3]),
)  # fmt: skip
for name in ("mask", "reset"):
    why = "because x holds 4 sequences of 5 steps and batch_first is True"
    text = f"{name} must have shape (4, 5) {why}; got (5, 4)."
    row(f"{name} turned", ValueError, text, run(**{name: ONES.T}))
    row(f"{name} scalar", ValueError, text.replace("(5, 4).", "()."), run(**{name: True}))
    text = f"{name} must have shape (5, 4) because x holds 5 steps of 4 sequences; got (4, 5)."
    row(f"{name} batch-first", ValueError, text, run_one(**{name: ONES}))
    for given, got in ((np.full((4, 5), "a"), "<U1"), (ONES.astype(object), "object"), (ONES * 1j, "complex128")):
        text = f"{name} must hold booleans (or 0 and 1); got dtype {got}."
        row(f"{name} of {got}", TypeError, text, run(**{name: given}))
    for given, got in ((ONES * 2, "2"), (ONES * np.nan, "nan"), (ONES * -1, "-1"), (ONES * 0.5, "0.5")):
        text = f"{name} must hold booleans (or 0 and 1); got values such as {got}."
        row(f"{name} of {got}", ValueError, text, run(**{name: given}))

# ------------------------------------------------------------------------------------------ one layer's parameters

row("params None", TypeError, "params must be a GRUParams; got NoneType.", run_one(params=None))
row("params tuple", TypeError, "params must be a GRUParams; got tuple.", run_one(params=tuple(PARAMS)))
row("x None, one layer", TypeError, "x must be float32 or float64 or complex128; got None.", run_one(x=None))
row(
    "x of one layer", ValueError, "x must have shape (T, B, 2) because weight_ih is (9, 2); got (4, 2).",
    run_one(x=X[:, 0]),
)  # fmt: skip
for name in ("weight_ih", "weight_hh"):
    text = f"{name} must be float32 because x is float32; got"
    row(f"{name} None", TypeError, f"{text} None.", run_one(params=PARAMS._replace(**{name: None})))
    wide = PARAMS._replace(**{name: getattr(PARAMS, name).astype(float)})
    row(f"{name} wide", TypeError, f"{text} float64. Pass {name}.astype('float32').", run_one(params=wide))
for name in ("bias_ih", "bias_hh"):
    text = "bias_ih and bias_hh must both be given or both be None; got one of them."
    row(f"{name} None", ValueError, text, run_one(params=PARAMS._replace(**{name: None})))
    text = f"{name} must have shape (9,) because weight_hh (9, 3) has hidden_size 3; got (8,)."
    row(f"{name} short", ValueError, text, run_one(params=PARAMS._replace(**{name: np.zeros(8, "float32")})))
row(
    "weight_hh flat", ValueError,
    "weight_hh must have shape (3H, H) because it maps H units to three gates; got (9,).",
    run_one(params=PARAMS._replace(weight_hh=PARAMS.bias_hh)),
)  # fmt: skip
row(
    "weight_hh short", ValueError,
    "weight_hh must have shape (9, 3) because weight_hh (8, 3) has hidden_size 3; got (8, 3).",
    run_one(params=PARAMS._replace(weight_hh=PARAMS.weight_hh[:8])),
)  # fmt: skip
row(
    "weight_ih short", ValueError,
    "weight_ih must have shape (9, I) because weight_hh (9, 3) has hidden_size 3; got (8, 2).",
    run_one(params=PARAMS._replace(weight_ih=PARAMS.weight_ih[:8])),
)  # fmt: skip
row(
    "no units", ValueError, "hidden_size (the columns of weight_hh) must be at least 1; got 0.",
    run_one(params=grus.GRUParams(np.zeros((0, 2), "float32"), np.zeros((0, 0), "float32"))),
)  # fmt: skip
row(
    "no features", ValueError, "input_size (the columns of weight_ih) must be at least 1; got 0.",
    run_one(X[..., :0], PARAMS._replace(weight_ih=PARAMS.weight_ih[:, :0])),
)  # fmt: skip

# -------------------------------------------------------------------------------------------- one layer's options

row(
    "formulation in capitals", ValueError,
    "formulation must be one of after, before, candidate; got 'Before'. Did you mean 'before'?",
    run_one(formulation="Before"),
)  # fmt: skip
for value in ("after", "candidate"):
    text = f"formulation must be 'before' where reset_after is False; got {value!r}."
    row(f"two formulations, {value}", ValueError, text, run_one(formulation=value, reset_after=False))
row(
    "gradient_clip with truncate", ValueError,
    "gradient_clip must be None where truncate is 2; got 0.5. Truncated gradients go back one by one, and there "
    "is no sum of them to cut.",
    run_one(truncate=2, gradient_clip=0.5),
)  # fmt: skip
for name, value, text in (
    ("formulation", ["after"], "must be one of after, before, candidate; got ['after']. Did you mean 'after'?"),
    ("reset_after", [True], "must be True or False; got [True] of type list."),
    ("gradient_clip", 0, "must be above 0; got 0."),
    ("gradient_clip", "1", "must be a number; got '1' of type str."),
    ("gradient_clip", [1.0], "must be a number; got [1.0] of type list."),
    ("truncate", -1, "must be at least 0; got -1."),
    ("truncate", 1.0, "must be a whole number; got 1.0 of type float."),
    ("truncate", True, "must be a whole number; got the boolean True."),
    ("truncate", [1], "must be a whole number; got [1] of type list."),
    ("blocks", 0, "must be at least 1; got 0."),
    ("blocks", 2.5, "must be a whole number; got 2.5 of type float."),
    ("blocks", True, "must be a whole number; got the boolean True."),
):
    error = ValueError if name == "formulation" or value in (0, -1) else TypeError
    row(f"{name} {value!r}", error, f"{name} {text}", run_one(**{name: value}))
for value, error, text in (
    (0, ValueError, "must be above 0; got 0."),
    (-2.0, ValueError, "must be above 0; got -2."),
    (np.inf, ValueError, "must be finite; got inf."),
    ("2", TypeError, "must be a number; got '2' of type str."),
):
    row(f"clip {value!r}", error, f"clip of activation 'tanh' {text}", run_one(clip=value))
BLOCKS = PARAMS._replace(weight_hh=PARAMS.weight_hh[:, :1])  # of one unit each
row(
    "weight_hh flat, in blocks", ValueError,
    "weight_hh must have shape (3H, H/3) because it maps H units to three gates; got (9,).",
    run_one(params=PARAMS._replace(weight_hh=PARAMS.bias_hh), blocks=3),
)  # fmt: skip
row(
    "weight_hh whole, in blocks", ValueError,
    "weight_hh must have shape (27, 3) because weight_hh (9, 3) has hidden_size 9 in 3 blocks; got (9, 3).",
    run_one(blocks=3),
)  # fmt: skip
row(
    "weight_hh in blocks, without them", ValueError,
    "weight_hh must have shape (3, 1) because weight_hh (9, 1) has hidden_size 1; got (9, 1).",
    run_one(params=BLOCKS),
)  # fmt: skip
GAIN = np.ones(9, "float32")
for name, other in (("gain_ih", "gain_hh"), ("gain_hh", "gain_ih")):
    text = "gain_ih and gain_hh must both be given or both be None; got one of them."
    row(f"{name} alone", ValueError, text, run_one(params=PARAMS._replace(**{name: GAIN})))
    text = f"{name} must have shape (9,) because weight_hh (9, 3) has hidden_size 3; got (3,)."
    gains = {name: GAIN[:3], other: GAIN}
    row(f"{name} of one gate", ValueError, text, run_one(params=PARAMS._replace(**gains)))
    text = f"{name} must be float32 because x is float32; got float64. Pass {name}.astype('float32')."
    gains = {name: GAIN.astype(float), other: GAIN}
    row(f"{name} wide", TypeError, text, run_one(params=PARAMS._replace(**gains)))
WHY = "because x holds 5 steps of 4 sequences and weight_hh has hidden_size 3"
for name, shape, wrong in (
    ("recurrent_mask", (4, 9), [(4, 3), (9,), (2, 9), (5, 4, 9)]),
    ("input_mask", (4, 9), [(4, 2), (9,), (3, 9)]),
    ("zoneout", (5, 4, 3), [(), (4, 3), (4, 5, 1), (5, 4, 9)]),
):
    for got in wrong:
        text = f"{name} must have shape {shape}, or 1 on some axes, {WHY}; got {got}."
        row(f"{name} {got}", ValueError, text, run_one(**{name: np.ones(got, "float32")}))
    text = f"{name} must be float32 because x and the parameters are; got float64. Pass {name}.astype('float32')."
    row(f"{name} wide", TypeError, text, run_one(**{name: np.ones(shape)}))
for got in ((5, 4, 1), (4, 3), (4, 5, 3)):  # its gradient has its shape, so nothing is broadcast
    text = f"decay must have shape (5, 4, 3) {WHY}; got {got}."
    row(f"decay {got}", ValueError, text, run_one(decay=np.ones(got, "float32")))
row(
    "decay wide", TypeError,
    "decay must be float32 because x and the parameters are; got float64. Pass decay.astype('float32').",
    run_one(decay=np.ones((5, 4, 3))),
)  # fmt: skip

# ------------------------------------------------------------------------------------------------------- backward

row(
    "reset_state without reset", ValueError,
    "reset_state needs reset, which says where sequences begin; got reset_state alone.",
    run(reset_state=H0),
)  # fmt: skip
row(
    "another GRU's tape", ValueError, "tape must be what this GRU's forward returned; got that of another GRU.",
    lambda: GRU.backward(grus.GRU(2, 3).forward(X).tape),
)  # fmt: skip
row("no tape", TypeError, "tape must be what forward returned; got NoneType.", lambda: GRU.backward(None))
row(
    "tape of a call", TypeError, "tape must be what gru_forward(..., training=True) returned; got NoneType.",
    lambda: grus.gru_backward(grus.gru_forward(TIME_MAJOR, None, PARAMS, training=False)[2]),
)  # fmt: skip
row(
    "used tape", RuntimeError, "this tape was used before: run forward again, one backward needs one tape.",
    lambda: GRU.backward(used_tape()),
)  # fmt: skip
row(
    "d_output shape", ValueError,
    "d_output must have shape (4, 5, 3) because output has that shape; got (5, 4, 3).",
    back(np.zeros((5, 4, 3), "float32")),
)  # fmt: skip
row(
    "d_output dtype", TypeError,
    "d_output must be float32 because x and the parameters are; got float64. Pass d_output.astype('float32').",
    back(np.zeros((4, 5, 3))),
)  # fmt: skip
row(
    "d_h_n shape", ValueError,
    "d_h_n must have shape (1, 4, 3) because that is (layers*directions, B, hidden_size); got (4, 3).",
    back(None, H0[0]),
)  # fmt: skip
row("out list", TypeError, "out must be an ndarray, to be filled in place; got list.", back(out=[0.0] * 63))
row(
    "out short", ValueError, "out must have shape (63,) because that is the number of parameters; got (62,).",
    back(out=np.zeros(62, "float32")),
)  # fmt: skip
row(
    "out wide", TypeError,
    "out must be float32 because the parameters are; got float64. Pass out.astype('float32').",
    back(out=np.zeros(63)),
)  # fmt: skip
row(
    "out strided", ValueError, "out must be contiguous and writeable; got one that is not.",
    back(out=np.zeros(126, "float32")[::2]),
)  # fmt: skip
row(
    "out misaligned", ValueError, "out must lie at a multiple of 4 bytes in memory; got one that does not.",
    back(out=np.zeros(4 * 63 + 1, np.uint8)[1:].view("float32")),
)  # fmt: skip
row(
    "no rng for several", ValueError,
    "rng must be given because recurrent_dropout is 0.25 and zoneout is 0.5. Pass rng=0 or a Generator.",
    lambda: grus.GRU(2, 3, recurrent_dropout=0.25, zoneout=0.5).forward(X),
)  # fmt: skip
row(
    "no rng", ValueError, "rng must be given because dropout is 0.25. Pass rng=0 or a Generator.",
    lambda: grus.GRU(2, 3, 2, dropout=0.25).forward(X),
)  # fmt: skip
row(
    "gradcheck with a gradient_clip", ValueError,
    "gradcheck needs gradient_clip=None, because a cut gradient is no derivative; got 0.25.",
    lambda: grus.gradcheck(grus.GRU(2, 3, gradient_clip=0.25), X),
)  # fmt: skip
row("per_sample text", TypeError, "per_sample must be True or False; got 'no' of type str.", back(per_sample="no"))
row(
    "out of one row", ValueError,
    "out must have shape (4, 63) because that is the number of sequences and of parameters; got (63,).",
    back(per_sample=True, out=np.zeros(63, "float32")),
)  # fmt: skip
row(
    "checkpoints of both directions", ValueError,
    "checkpoint_every must be None where bidirectional is True; got 4. The reverse direction comes from the end "
    "of the sequence, so no chunk can be run again by itself.",
    build(checkpoint_every=4, bidirectional=True),
)  # fmt: skip
row(
    "checkpoints of a reverse GRU", ValueError,
    "checkpoint_every must be None where reverse is True; got 4. The reverse direction comes from the end "
    "of the sequence, so no chunk can be run again by itself.",
    build(checkpoint_every=4, reverse=True),
)  # fmt: skip
row(
    "checkpoints and truncation", ValueError,
    "checkpoint_every must be None where truncate is 2; got 4. What reaches a chunk's end from later losses has "
    "different numbers of steps still to go. Leave out one.",
    lambda: grus._check.checkpoint_every(4, False, False, 2),
)  # fmt: skip
row(
    "checkpoints at every 0th step", ValueError, "checkpoint_every must be at least 1; got 0.",
    build(checkpoint_every=0),
)  # fmt: skip
row(
    "no output without checkpoints", ValueError,
    "return_output must be True where checkpoint_every is None, because the tape keeps the output then; "
    "got False.",
    lambda: GRU.forward(X, return_output=False),
)  # fmt: skip
row(
    "used checkpoints", RuntimeError,
    "this tape was used before: run forward again, one backward needs one tape.",
    lambda: CHECKPOINTED.backward(used_tape(CHECKPOINTED)),
)  # fmt: skip

# ---------------------------------------------------------------------------------------------- other derivatives

for name, call in (("jvp", jvp), ("hvp", hvp)):
    row(
        f"{name} x", TypeError,
        "x must be float32 because that is this GRU's dtype; got float64. Pass x.astype('float32').",
        call(x=X.astype(float)),
    )  # fmt: skip
    row(
        f"{name} h0", TypeError,
        "h0 must be float32 because x and the parameters are; got float64. Pass h0.astype('float32').",
        call(h0=H0.astype(float)),
    )  # fmt: skip
    row(
        f"{name} dx", ValueError, "dx must have shape (4, 5, 2) because x has that shape; got (5, 4, 2).",
        call(dx=TIME_MAJOR),
    )  # fmt: skip
    row(
        f"{name} dx wide", TypeError,
        "dx must be float32 because x is; got float64. Pass dx.astype('float32').",
        call(dx=X.astype(float)),
    )  # fmt: skip
    row(
        f"{name} dh0 alone", ValueError, "dh0 needs h0, whose direction it is; got dh0 alone.",
        call(dh0=H0),
    )  # fmt: skip
    row(
        f"{name} dparameters list", TypeError, "dparameters must be a mapping of names to arrays; got list.",
        call(dparameters=[1]),
    )  # fmt: skip
    row(
        f"{name} dparameters name", ValueError,
        "dparameters takes weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0; got 'bias_ih'. "
        "Did you mean 'bias_ih_l0'?",
        call(dparameters={"bias_ih": 0}),
    )  # fmt: skip
    row(
        f"{name} dparameters shape", ValueError,
        "dparameters['bias_ih_l0'] must have shape (9,) because the parameter has that shape; got (8,).",
        call(dparameters={"bias_ih_l0": np.zeros(8, "float32")}),
    )  # fmt: skip
    row(
        f"{name} dparameters wide", TypeError,
        "dparameters['bias_ih_l0'] must be float32 because the parameters are; got float64. "
        "Pass dparameters['bias_ih_l0'].astype('float32').",
        call(dparameters={"bias_ih_l0": np.zeros(9)}),
    )  # fmt: skip
    row(
        f"{name} of a complex GRU", TypeError,
        f"{name} needs a GRU of dtype float32 or float64; got complex128.",
        call(x=X.astype(complex), gru=grus.GRU(2, 3, dtype="complex128")),
    )  # fmt: skip
row(
    "loss gradient alone", TypeError, "loss_gradient must return a tuple (d_output, d_h_n); got ndarray.",
    hvp(loss_gradient=lambda output, h_n: output),
)  # fmt: skip
row(
    "loss gradient real", TypeError,
    "d_h_n must be complex128 because loss_gradient gets complex arrays, and their imaginary parts carry the "
    "curvature; got float64. Pass d_h_n.astype('complex128').",
    hvp(loss_gradient=lambda output, h_n: (None, np.abs(h_n))),
)  # fmt: skip
row(
    "loss gradient shape", ValueError,
    "d_output must have shape (4, 5, 3) because output has that shape; got (1, 4, 3).",
    hvp(loss_gradient=lambda output, h_n: (h_n, None)),
)  # fmt: skip
for kind in ("int64", "bool", "float16"):
    row(
        f"gru_forward of {kind}", TypeError,
        f"x must be float32 or float64 or complex128; got {kind}. Pass x.astype('float32').",
        lambda kind=kind: grus.gru_forward(np.ones((4, 3, 2), kind), None, PARAMS),
    )  # fmt: skip
row(
    "gru_forward of complex x and real parameters", TypeError,
    "weight_ih must be complex128 because x is complex128; got float32. Pass weight_ih.astype('complex128').",
    lambda: grus.gru_forward(np.ones((4, 3, 2), "complex128"), None, PARAMS),
)  # fmt: skip
row("gradcheck text", TypeError, "x must be real numbers; got <U3.", lambda: grus.gradcheck(GRU, "abc"))
row("gradcheck None", TypeError, "x must be real numbers; got None.", lambda: grus.gradcheck(GRU, None))

# ----------------------------------------------------------------------------------------------------- parameters

row(
    "state of another size", ValueError,
    "state_dict['bias_hh_l0'] must have shape (9,) because that is the size of this model's parameter; got (6,).",
    lambda: GRU.load_state_dict(STATE | {"bias_hh_l0": np.zeros(6, "float32")}),
)  # fmt: skip
row(
    "state of another dtype", TypeError,
    "state_dict['bias_hh_l0'] is float64, which this model's float32 can't hold without loss. "
    "Pass the array as .astype('float32').",
    lambda: GRU.load_state_dict(STATE | {"bias_hh_l0": np.zeros(9)}),
)  # fmt: skip
row(
    "state of texts", TypeError,
    "state_dict['bias_hh_l0'] is <U1, which this model's float32 can't hold without loss.",
    lambda: GRU.load_state_dict(STATE | {"bias_hh_l0": np.full(9, "a")}),
)  # fmt: skip
row(
    "state ragged", ValueError,
    "state_dict['bias_hh_l0'] must be an array; got a list whose rows differ in length.",
    lambda: GRU.load_state_dict(STATE | {"bias_hh_l0": [[1], [2, 3]]}),
)  # fmt: skip
row(
    "state names", ValueError,
    "state_dict does not fit: missing bias_hh_l0, weight_ih_l0; unknown 7, head. "
    "Pass strict=False to load what matches.",
    lambda: GRU.load_state_dict({"head": 0, 7: 0, "weight_hh_l0": 0, "bias_ih_l0": 0}),
)  # fmt: skip
for value in (None, [1]):
    text = f"state_dict must be a mapping of names to arrays; got {type(value).__name__}."
    row(f"state {value}", TypeError, text, lambda state=value: GRU.load_state_dict(state))
row(
    "parameter name", ValueError,
    "parameters takes weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0; got 'weight_ih'. "
    "Did you mean 'weight_ih_l0'?",
    lambda: GRU.parameters.__setitem__("weight_ih", 0),
)  # fmt: skip
row(
    "parameter shape", ValueError,
    "parameters['bias_ih_l0'] must have shape (9,) because that is the size of this model's parameter; got ().",
    lambda: GRU.parameters.__setitem__("bias_ih_l0", 0.0),
)  # fmt: skip
row(
    "parameter dtype", TypeError,
    "parameters['bias_ih_l0'] is complex128, which this model's float32 can't hold without loss.",
    lambda: GRU.parameters.__setitem__("bias_ih_l0", np.full(9, 1j)),
)  # fmt: skip
row(
    "parameters elsewhere", ValueError,
    "flat must have shape (63,) because that is the number of parameters; got (64,).",
    lambda: GRU.parameters.place_on(np.zeros(64, "float32")),
)  # fmt: skip
row(
    "target NaN", ValueError,
    "y must be finite; got 1 NaN or infinite values, the first at (2, 0). Leave out rows without a target.",
    lambda: nn.Sequential([nn.GRU(3), nn.Dense(1)]).fit(X, np.array([0, 1, np.nan, 2]), loss="mse", epochs=1),
)  # fmt: skip

# Messages about a state of affairs rather than about a value that came.
WITHOUT_GOT = (
    "step needs",
    "rest_state needs",
    "stream needs",
    "layer 0 has no rest state",
    "this tape was used",
    "rng must be given",
    "state_dict",
    "parameters[",
    "activation 'soft",
)


@pytest.mark.parametrize(("call", "error", "text"), ROWS)
def test_message(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    assert str(caught.value) == text
    assert text.endswith((".", "?"))
    assert "; got " in text or text.startswith(WITHOUT_GOT)
    assert caught.value.__cause__ is None  # NumPy's own error is not shown too
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def raises(module: str) -> list[tuple[int, int]]:
    """First and last line of every raise statement of a module."""
    tree = ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8"))
    return [(node.lineno, node.end_lineno or 0) for node in ast.walk(tree) if isinstance(node, ast.Raise)]


def raised_at(call: Callable[[], Any]) -> tuple[str, int]:
    """The module and the line of grus that the call's error came from."""
    try:
        call()
    except Exception as error:
        frames, traceback = [], error.__traceback__
        while traceback is not None:
            frames.append((Path(traceback.tb_frame.f_code.co_filename), traceback.tb_lineno))
            traceback = traceback.tb_next
        return next((path.stem, line) for path, line in reversed(frames) if path.parent == FOLDER)
    pytest.fail("no error")


def test_every_raise_has_a_row() -> None:
    reached = {raised_at(param.values[0]) for param in ROWS}
    missing = [
        f"{module}.py:{first}"
        for module in MODULES
        for first, last in raises(module)
        if not any(module == place and first <= line <= last for place, line in reached)
    ]
    assert not missing, f"no row of this file reaches the raise at {', '.join(missing)}: add one"


def test_every_row_ends_at_a_raise_of_the_core() -> None:
    """So that no row is satisfied by an error from somewhere else."""
    for param in ROWS:
        module, line = raised_at(param.values[0])
        assert module in MODULES, param.id
        assert any(first <= line <= last for first, last in raises(module)), param.id


def test_rows_have_different_names() -> None:
    names = [param.id for param in ROWS]
    assert not [name for name, group in itertools.groupby(sorted(names)) if len(list(group)) > 1]


def test_misuse_changes_nothing() -> None:
    before = GRU.flat.copy()
    for param in ROWS:
        raised_at(param.values[0])
    np.testing.assert_array_equal(GRU.flat, before)
