"""Keras' layers and models to grus and back, against Keras itself."""

import os
import subprocess
import sys

import numpy as np
import pytest

import grus
from grus.conversion import ConversionError, Report
from grus.conversion.keras_activations import NAMED, known, written
from grus.keras import from_keras, to_keras

keras = pytest.importorskip("keras", reason="could not import 'keras', which these tests compare with")
from keras import layers as kl  # noqa: E402
from keras.src.backend.common import dtypes  # noqa: E402

BACKEND = keras.config.backend()
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


@pytest.fixture
def whole_float64(monkeypatch):
    """Keras' own promotion rounds float64 on its way; without that it computes in float64 throughout."""
    monkeypatch.setitem(dtypes.BIT64_TO_BIT32_DTYPE, "float64", "float64")


def random_gru(*args, **options):
    return grus.GRU(*args, **{"init": "torch", "seed": 3} | options)


def random_data(gru, batch=4, steps=7):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((batch, steps, gru.input_size)).astype(gru.dtype)
    return x, rng.uniform(-1, 1, (gru.num_layers * gru.directions, batch, gru.hidden_size)).astype(gru.dtype)


def run_keras(layers, x, h0):
    """The layers as they are, which return sequences, from given states."""
    states = iter(h0)
    for layer in layers:
        count = 2 if isinstance(layer, kl.Bidirectional) else 1
        x = layer(x, initial_state=[keras.ops.convert_to_tensor(next(states), x.dtype) for _ in range(count)])
    return keras.ops.convert_to_numpy(x)


def difference(gru, layers, reverse=False):
    x, h0 = random_data(gru)
    output, h_n = gru(x, h0)
    theirs = run_keras(layers, keras.ops.convert_to_tensor(x, gru.dtype.name), h0)
    assert theirs.dtype == gru.dtype
    theirs = theirs[:, ::-1] if reverse else theirs
    last = theirs[:, 0 if reverse else -1, : gru.hidden_size]
    return max(np.abs(output - theirs).max(), np.abs(h_n[-gru.directions] - last).max())


def built(layer, features=3, seed=1):
    """A layer with random weights."""
    layer.build((None, features) if isinstance(layer, kl.GRUCell) else (None, None, features))
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        weight.assign(rng.uniform(-0.8, 0.8, weight.shape))
    return layer


def sequence(units=4, **options):
    return kl.GRU(units, return_sequences=True, **options)


def model_of(*layers, features=3):
    model = keras.Sequential([keras.Input((None, features)), *layers])
    rng = np.random.default_rng(2)
    for weight in model.weights:
        weight.assign(rng.uniform(-0.8, 0.8, weight.shape))
    return model


# ----------------------------------------------------------------------------------------------------- the grid


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("formulation", ["after", "before"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_grid_there_and_back(whole_float64, num_layers, bidirectional, bias, formulation, dtype):
    gru = random_gru(
        3, 5, num_layers, bidirectional=bidirectional, bias=bias, formulation=formulation, dtype=dtype
    )
    there, back = Report(), Report()
    model = to_keras(gru, report=there)
    again = from_keras(model, report=back)
    assert difference(gru, model.layers) <= TOLERANCE[dtype]
    assert difference(again, model.layers) <= TOLERANCE[dtype]
    assert max(there.difference, back.difference) <= TOLERANCE[dtype]
    assert (again.num_layers, again.bidirectional, again.bias) == (num_layers, bidirectional, bias)
    assert again.formulation.reset == formulation
    merged = bias and formulation == "before"
    assert any("their sum is kept" in note for note in there.notes) == merged
    if not merged:
        np.testing.assert_array_equal(again.flat, gru.flat)


def test_grid_without_help_says_where_keras_rounds():
    """Keras as it comes rounds float64: it is compared in float32, and its formula in float64."""
    report = Report()
    to_keras(random_gru(3, 5, formulation="before", dtype="float64"), report=report)
    assert report.difference <= 1e-12
    assert report.notes[-1] == (
        f"Keras ({BACKEND}) rounds float64 to float32 on its way: it was compared in float32, its formula in "
        "float64"
    )


def test_found_says_what_the_source_is():
    report = Report()
    from_keras(model_of(kl.Bidirectional(sequence(reset_after=False, recurrent_activation="relu"))), report=report)
    assert report.found == {
        "layout": "Keras GRU(reset_after=False)",
        "formulation": "reset before the recurrent product",
        "gate order": "z, r, h",
        "update gate": "z multiplies the previous state",
        "biases": "one",
        "activations": "tanh, relu",
        "layers": "1, both directions",
    }


def test_kerass_default_is_after_whatever_its_documentation_says():
    assert from_keras(built(kl.GRU(4))).formulation.reset == "after"


# --------------------------------------------------------------------------------------------------- activations


@pytest.mark.parametrize("name", [name for name in NAMED if name != "hard_sigmoid_keras2"])
def test_activation_formulas_are_kerass(whole_float64, name):
    row, a = NAMED[name], np.linspace(-12, 12, 4001)
    theirs = keras.ops.convert_to_numpy(keras.activations.get(name)(keras.ops.convert_to_tensor(a, "float64")))
    assert theirs.dtype == "float64"
    np.testing.assert_allclose(row.ours(a), theirs, rtol=0, atol=1e-14)
    np.testing.assert_allclose(row.formula(a), row.ours(a), rtol=0, atol=1e-14)


def test_activation_hard_sigmoid_of_keras_2_has_its_own_slope():
    a = np.array([-2.0, 0.3, 1.0])
    np.testing.assert_allclose(NAMED["hard_sigmoid_keras2"].formula(a), [0.1, 0.56, 0.7])
    np.testing.assert_allclose(NAMED["hard_sigmoid_keras2"].ours(a), [0.1, 0.56, 0.7])
    assert known("hard_sigmoid", "it", 2) == NAMED["hard_sigmoid_keras2"]
    assert known("hard_sigmoid", "it", 3) == NAMED["hard_sigmoid"]


ACTIVATIONS = [
    *(grus.Activation(name) for name in ("identity", "relu", "elu", "softsign", "softplus", "hard_sigmoid")),
    grus.Activation("leaky_relu", alpha=0.2),
    grus.Activation("leaky_relu", alpha=0.07),
    grus.Activation("elu", alpha=0.6),
    grus.Activation("thresholded_relu", alpha=0.1),
]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_activation_there_and_back(activation):
    gru = random_gru(3, 4, 2, activation=activation, gate_activation="hard_sigmoid")
    model = to_keras(gru)
    assert difference(gru, model.layers) <= 1e-6
    again = from_keras(model)
    assert again.formulation.activation == activation
    assert again.formulation.reset_activation == grus.Activation("hard_sigmoid")


@pytest.mark.parametrize(
    ("layer", "ours"),
    [
        (lambda: kl.LeakyReLU(negative_slope=0.3), grus.Activation("leaky_relu", alpha=0.3)),
        (lambda: kl.LeakyReLU(negative_slope=0.0), grus.Activation("relu")),
        (lambda: kl.ELU(alpha=0.5), grus.Activation("elu", alpha=0.5)),
        (lambda: kl.ReLU(), grus.Activation("relu")),
        (lambda: kl.ReLU(threshold=0.2), grus.Activation("thresholded_relu", alpha=0.2)),
        (lambda: kl.Activation("tanh"), grus.Activation("tanh")),
        (lambda: None, grus.Activation("identity")),
        (lambda: "hard_tanh", grus.Activation("identity", clip=1.0)),
    ],
)
def test_activation_layers(layer, ours):
    made = built(sequence(activation=layer()))
    gru = from_keras(made)
    assert gru.formulation.activation == ours
    assert difference(gru, [made]) <= 1e-6


@pytest.mark.parametrize(
    ("activation", "text"),
    [
        (
            "gelu",
            r"layer 'g': activation is 'gelu', which grus has not, or which is not Keras' own: it takes linear",
        ),
        ("relu6", "activation is 'relu6'"),
        (kl.ReLU(max_value=6.0), r"is 'ReLU' with .*, which is not one of Keras' activations that grus has"),
        (kl.ReLU(negative_slope=0.1, threshold=0.5), "negative_slope=0.1 and threshold=0.5 together"),
        (kl.ELU(alpha=-1.0), "is a layer 'ELU' with settings that grus has not"),
        (kl.PReLU(), "is 'PReLU' with"),
    ],
)
def test_activation_that_grus_lacks_is_refused(activation, text):
    with pytest.raises(ConversionError, match=text):
        from_keras(built(kl.GRU(4, activation=activation, name="g")))


def test_activation_of_a_user_is_refused_even_under_kerass_name():
    @keras.saving.register_keras_serializable(package="mine", name="tanh")
    def tanh(x):
        return 2 * x

    with pytest.raises(
        ConversionError, match=r"which grus has not, or which is not Keras' own|is 'function' with"
    ):
        from_keras(built(kl.GRU(4, activation=tanh)))


def test_activation_that_keras_lacks_is_refused():
    with pytest.raises(ConversionError, match=r"this GRU's activation, Activation\('scaled_tanh'"):
        to_keras(random_gru(3, 4, activation=grus.Activation("scaled_tanh", alpha=0.5)))
    with pytest.raises(ConversionError, match=r"its hard_sigmoid is x/6 \+ 0.5; 0.2x \+ 0.5 was Keras 2's"):
        to_keras(random_gru(3, 4, gate_activation="hard_sigmoid_keras2"))
    with pytest.raises(ConversionError, match="has one recurrent_activation for the reset and the update gate"):
        to_keras(random_gru(3, 4, gate_activation=("sigmoid", "relu")))
    assert written(grus.Activation("elu"), "activation") == ("elu", {})


# --------------------------------------------------------------------------------------------- kinds of source


def test_a_lone_layer_a_cell_an_rnn_and_a_list():
    gru, cell = built(sequence()), built(kl.GRUCell(4))
    rnn = built(kl.RNN(kl.GRUCell(4), return_sequences=True))
    assert difference(from_keras(gru), [gru]) <= 1e-6
    assert difference(from_keras(rnn), [rnn]) <= 1e-6
    assert difference(from_keras(cell), [kl.RNN(cell, return_sequences=True)]) <= 1e-6
    second = built(sequence(), features=4)
    assert difference(from_keras([gru, second]), [gru, second]) <= 1e-6
    both = built(kl.Bidirectional(kl.RNN(kl.GRUCell(4), return_sequences=True)))
    assert difference(from_keras(both), [both]) <= 1e-6


def test_a_sequential_model_with_a_head_and_dropouts_between():
    grus_of = sequence(dropout=0.2), sequence(recurrent_dropout=0.1, name="second")
    model = model_of(
        kl.Masking(), grus_of[0], kl.Dropout(0.3), kl.Identity(), grus_of[1], kl.Dense(2, name="head")
    )
    report = Report()
    gru = from_keras(model, report=report)
    assert gru.num_layers == 2
    assert difference(gru, grus_of) <= 1e-6
    left = next(note for note in report.notes if note.startswith("only the GRUs were converted; left out: "))
    assert "head (Dense)" in left
    assert "(Dropout)" in left
    assert "what a Masking layer leaves out is given to grus as mask= of a call" in report.notes
    assert "second: recurrent_dropout=0.1 acts only in training and is left behind" in report.notes


def test_a_functional_model_with_an_initial_state():
    x, h = keras.Input((None, 3)), keras.Input((4,))
    first, second = sequence(name="a"), kl.GRU(4, name="b")
    model = keras.Model([x, h], kl.Dense(2)(second(kl.Dropout(0.5)(first(x, initial_state=h)))))
    report = Report()
    gru = from_keras(model, report=report)
    np.testing.assert_array_equal(
        gru.parameters["weight_ih_l1"][:4], keras.ops.convert_to_numpy(second.cell.kernel.value)[:, 4:8].T
    )
    assert "a starts from another layer's output: give it to grus as h0" in report.notes
    assert "b returns its last state alone, which in grus is h_n, not output" in report.notes


def test_layers_with_and_without_biases_get_zeros():
    made = [built(sequence()), built(sequence(use_bias=False), features=4)]
    report = Report()
    gru = from_keras(made, report=report)
    assert difference(gru, made) <= 1e-6
    assert not gru.parameters["bias_hh_l1"].any()
    assert "cells without a bias got zeros, as others have one: the results are the same" in report.notes


@pytest.mark.parametrize("num_layers", [1, 3])
def test_backwards_is_reverse_with_the_output_flipped(num_layers):
    gru = random_gru(3, 4, num_layers, reverse=True)
    report = Report()
    model = to_keras(gru, report=report)
    assert [layer.go_backwards for layer in model.layers] == [True] + [False] * (num_layers - 1)
    assert difference(gru, model.layers, reverse=True) <= 1e-6
    assert report.notes == [
        "Keras returns the sequence of go_backwards=True from its end: flip it along time to compare"
    ]
    back = Report()
    again = from_keras(model, report=back)
    assert again.reverse
    assert back.found["direction"] == "go_backwards"
    assert back.notes[0].startswith("go_backwards=True is grus.GRU(reverse=True): Keras returns the sequence from")
    np.testing.assert_array_equal(again.flat, gru.flat)


def test_mixed_precision_is_noted():
    report = Report()
    from_keras(built(kl.GRU(4, dtype="mixed_float16", name="g")), report=report)
    assert "g computes in 16 bits in Keras, in grus with its weights' digits" in report.notes


def test_a_batch_second_gru_is_noted():
    report = Report()
    to_keras(random_gru(3, 4, batch_first=False), report=report)
    assert "Keras reads (B, T, I), where this GRU has batch_first=False" in report.notes


def test_a_regulariser_or_an_initialiser_of_a_user_is_not_needed():
    class Mine(keras.initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return keras.ops.ones(shape, dtype)

    from_keras(built(kl.GRU(4, kernel_initializer=Mine(), kernel_regularizer="l2")))


# ------------------------------------------------------------------------------------------------------ refusals


def branched():
    x = keras.Input((None, 3))
    first = sequence(name="a")(x)
    return keras.Model(x, [kl.GRU(4, name="b")(first), kl.GRU(4, name="c")(first)])


def beside():
    x = keras.Input((None, 3))
    return keras.Model(x, [kl.GRU(4, name="a")(x), kl.GRU(4, name="b")(x)])


def shared():
    x, layer = keras.Input((None, 4)), sequence(name="a")
    return keras.Model(x, layer(layer(x)))


class MyGRU(kl.GRU):
    pass


class MyModel(keras.Model):
    def get_config(self):
        return {"name": self.name}


REFUSED = {
    "no GRU": (lambda: model_of(kl.Dense(2, name="d")), r"the model holds no GRU; its layers are .*d \(Dense\)"),
    "not a GRU": (lambda: built(kl.LSTM(4, name="l")), "layer 'l' is no GRU; it is a LSTM"),
    "not built": (lambda: kl.GRU(4, name="g"), "layer 'g' is not built, so it has no weights"),
    "empty": (lambda: [], "source must hold at least one layer; got an empty list"),
    "between": (
        lambda: model_of(sequence(name="a"), kl.Dense(4, name="d"), sequence(name="b")),
        r"must read one another with at most dropout between; here a reads .*, b reads d \(Dense\)",
    ),
    "an LSTM between": (lambda: model_of(sequence(), kl.LSTM(4, return_sequences=True), kl.GRU(4)), r"reads lstm"),
    "branched": (branched, "b and c both read a: grus has no such branching"),
    "beside": (beside, "a reads input_layer.*, b reads input_layer"),
    "shared": (shared, "layer 'a' is used 2 times in the model"),
    "nested": (
        lambda: model_of(keras.Sequential([keras.Input((None, 3)), sequence()], name="inner"), kl.Dense(2)),
        r"layer 'inner' \(Sequential\) holds or extends a GRU in a way that grus does not know",
    ),
    "subclass": (lambda: built(MyGRU(4, name="g")), r"layer 'g' \(MyGRU\) holds or extends a GRU"),
    "subclassed model": (lambda: MyModel(), "the model is of class 'MyModel'"),
    "stacked cells": (
        lambda: built(kl.RNN([kl.GRUCell(4), kl.GRUCell(4)], name="r")),
        "layer 'r' is an RNN of StackedRNNCells; grus reads RNN",
    ),
    "merge mode": (
        lambda: built(kl.Bidirectional(kl.GRU(4), merge_mode="sum", name="b")),
        "layer 'b' must have merge_mode='concat', which puts its directions side by side; got 'sum'",
    ),
    "bidirectional backwards": (
        lambda: built(
            kl.Bidirectional(kl.GRU(4, go_backwards=True), backward_layer=kl.GRU(4, name="f"), name="b")
        ),
        "layer 'b' is Bidirectional around a layer with go_backwards=True",
    ),
    "one direction": (
        lambda: built(kl.Bidirectional(kl.GRU(4), backward_layer=kl.LSTM(4, go_backwards=True), name="b")),
        "layer 'b' is a GRU in one direction alone",
    ),
    "backwards second": (
        lambda: [built(sequence()), built(sequence(go_backwards=True, name="b"), 4)],
        "b has go_backwards=True and is not the first layer",
    ),
    "backwards twice": (
        lambda: [built(sequence(go_backwards=True)), built(sequence(go_backwards=True, name="b"), 4)],
        "b has go_backwards=True and is not the first layer: directions are mixed",
    ),
    "no sequence": (
        lambda: [built(kl.GRU(4, name="a")), built(kl.GRU(4), 4)],
        r"a gives its last state alone \(return_sequences=False\), which no GRU can read",
    ),
    "formulations": (
        lambda: [built(sequence()), built(kl.GRU(4, reset_after=False), 4)],
        "the layers' cells must agree in reset_after; got True and False: grus.GRU has one for all",
    ),
    "activations": (
        lambda: [built(sequence()), built(kl.GRU(4, activation="relu"), 4)],
        r"must agree in activation; got Activation\('tanh'\) and Activation\('relu'\)",
    ),
    "widths": (lambda: [built(sequence(4)), built(sequence(5), 4)], "layer 1 has 1 direction"),
    "a layer missing": (lambda: [built(sequence(4)), built(sequence(4), 6)], "layer 1 reads 6 numbers"),
    "not a number": (lambda: with_nan(built(kl.GRU(4, name="g"))), "g/kernel.* holds NaN or infinity"),
}  # fmt: skip


def with_nan(layer):
    layer.cell.kernel.assign(np.full(layer.cell.kernel.shape, np.nan))
    return layer


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    source, text = REFUSED[case]
    with pytest.raises(ConversionError, match=text):
        from_keras(source())


def test_refused_because_its_configuration_can_not_be_had():
    class Secret(kl.Layer):
        def __init__(self, needed):
            super().__init__()

        def call(self, x):
            return x

    with pytest.raises(ConversionError, match=r"the configuration of 'm' can't be read .* as a list"):
        from_keras(keras.Sequential([keras.Input((None, 3)), sequence(), Secret(1)], name="m"))


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (
            {"reset_after": False},
            "contradicts itself: its configuration means reset_after=True, the argument means",
        ),
        ({"activation": "relu"}, "layer 'g' has activation 'tanh' and the argument says 'relu'"),
        ({"recurrent_activation": "mine"}, "the argument recurrent_activation is 'mine', which grus has not"),
        ({"go_backwards": True}, "layer 'g' has go_backwards=False and the argument says True"),
    ],
)
def test_refused_because_the_caller_says_otherwise(said, text):
    with pytest.raises(ConversionError, match=text):
        from_keras(built(kl.GRU(4, name="g")), **said)


def test_what_the_caller_says_may_agree():
    from_keras(built(kl.GRU(4)), reset_after=True, activation="tanh", go_backwards=False)


def test_refused_is_another_object():
    with pytest.raises(
        TypeError, match="source must be a layer or a model of Keras, a list of layers, or a path; got"
    ):
        from_keras({"kernel": 1})
    with pytest.raises(TypeError, match=r"gru must be a grus.GRU; got"):
        to_keras(built(kl.GRU(4)))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"formulation": "candidate"}, "Keras is the formulation 'after' or 'before' and this GRU is 'candidate'"),
        ({"clip": 3.0}, "Keras has no clip=3"),
        ({"layer_norm": True}, "Keras has no layer_norm"),
        ({"zoneout": 0.1}, "Keras has no zoneout=0.1"),
    ],
)
def test_refused_on_the_way_to_keras(options, text):
    with pytest.raises(ConversionError, match=text):
        to_keras(random_gru(3, 4, **options))


@pytest.mark.parametrize("formulation", ["after", "before"])
def test_the_self_check_sees_swapped_gates(monkeypatch, formulation):
    """With a wrong row in the table the conversion fails, both ways."""
    from dataclasses import replace

    from grus.conversion.conventions import CONVENTIONS

    name = "keras" if formulation == "after" else "keras-before"
    monkeypatch.setitem(CONVENTIONS, name, replace(CONVENTIONS[name], gates="rzn"))
    layer = built(kl.GRU(4, reset_after=formulation == "after"))
    with pytest.raises(
        ConversionError, match=r"the converted GRU is not the same function: Keras \(\w+\) and grus"
    ):
        from_keras(layer)


def test_a_missing_keras_is_an_import_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(ImportError, match=r"need keras and its backend: pip install keras, and set KERAS_BACKEND"):
        to_keras(random_gru(3, 4))


# -------------------------------------------------------------------------------------------- the other backend


def test_the_module_loads_neither_keras_nor_h5py():
    code = "import sys, grus.keras; print(*{'keras', 'h5py', 'jax', 'torch'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


@pytest.mark.skipif(BACKEND != "torch", reason="this process runs the other backend itself")
def test_the_other_backend():
    """The grid, activations and directions on JAX, in float64 too; nothing is compiled, it would take minutes."""
    pytest.importorskip("jax", reason="could not import 'jax', which these tests compare with")
    chosen = "(grid and 2-) or (activation and leaky) or backwards or lone"
    settings = {"KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1", "JAX_DISABLE_JIT": "1"}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, __file__],
        env=os.environ | settings, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert "passed" in ran.stdout
    assert "skipped" not in ran.stdout


JAX_WITHOUT_FLOAT64 = """
import grus, numpy as np
from grus.conversion import ConversionError
from grus.keras import from_keras, to_keras
gru = grus.GRU(3, 4, dtype="float64", seed=0)
try:
    to_keras(gru)
except ConversionError as error:
    print(error)
model = to_keras(gru, allow_cast=True)
again = from_keras(model)
assert again.dtype == "float32" and np.array_equal(again.flat, gru.flat.astype("float32"))
"""


def test_jax_without_float64_needs_allow_cast():
    pytest.importorskip("jax", reason="could not import 'jax', which these tests compare with")
    environment = {key: value for key, value in os.environ.items() if key != "JAX_ENABLE_X64"}
    ran = subprocess.run(
        [sys.executable, "-c", JAX_WITHOUT_FLOAT64], env=environment | {"KERAS_BACKEND": "jax"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "Keras on JAX without jax_enable_x64 holds float32 and this GRU is float64" in ran.stdout
    assert "Pass allow_cast=True" in ran.stdout


JAX_WITH_FLOAT64 = """
import grus
from grus.conversion import Report
from grus.keras import from_keras, to_keras
there, back = Report(), Report()
from_keras(to_keras(grus.GRU(3, 4, bias=False, dtype="float64", seed=0), report=there), report=back)
assert max(there.difference, back.difference) <= 1e-12
print(*there.notes, *back.notes, sep="\\n")
"""


def test_jax_with_float64_and_no_biases():
    """Keras 3.15 then has float64 zeros for the biases that a float32 layer lacks, and its scan refuses them."""
    pytest.importorskip("jax", reason="could not import 'jax', which these tests compare with")
    ran = subprocess.run(
        [sys.executable, "-c", JAX_WITH_FLOAT64],
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert ran.stdout.count("it was compared in float32, its formula in float64") == 2
