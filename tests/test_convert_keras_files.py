"""Keras' files, of version 3 and 2, to grus: against the model that wrote them, and what is wrong with them."""

import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import grus
from grus.conversion import ConversionError, Report
from grus.keras import from_keras, to_keras

h5py = pytest.importorskip("h5py", reason="could not import 'h5py', with which Keras' files are read")
RNG = np.random.default_rng(7)
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


def arrays_of(features, units, reset_after=True, bias=True, dtype="float32"):
    shapes = {"kernel": (features, 3 * units), "recurrent_kernel": (units, 3 * units)}
    if bias:
        shapes["bias"] = (2, 3 * units) if reset_after else (3 * units,)
    return {name: RNG.uniform(-0.8, 0.8, shape).astype(dtype) for name, shape in shapes.items()}


def gru_config(name, units=4, **settings):
    own = {"units": units, "activation": "tanh", "recurrent_activation": "hard_sigmoid", "use_bias": True}
    return {"class_name": "GRU", "config": {"name": name, "return_sequences": True, **own, **settings}}


def sequential(*entries):
    return {"class_name": "Sequential", "config": {"name": "s", "layers": list(entries)}}


def write_keras2(path, weights, config=None, version="2.2.4"):
    """As Keras 2 does: a group for each layer, whose attribute lists its arrays' names."""
    with h5py.File(path, "w") as file:
        group = file if config is None else file.create_group("model_weights")
        for place in {file, group}:
            if version is not None:
                place.attrs["keras_version"] = version.encode()
        if config is not None:
            file.attrs["model_config"] = json.dumps(config).encode()
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for layer, arrays in weights.items():
            own = group.create_group(layer)
            own.attrs["weight_names"] = [name.encode() for name in arrays]
            for name, array in arrays.items():
                own[name] = array
    return path


def named(arrays, prefix):
    return {f"{prefix}/{name}:0": array for name, array in arrays.items()}


def keras2_gru(arrays, x, h, slope=0.2):
    """Keras 2's GRU, written out: reset before or after by the bias' shape, its hard_sigmoid 0.2x + 0.5."""
    units, outputs = len(arrays["recurrent_kernel"]), []
    k, u = (np.split(arrays[name].astype("float64"), 3, axis=1) for name in ("kernel", "recurrent_kernel"))
    bias = arrays.get("bias", np.zeros(3 * units)).astype("float64")
    b = np.split(np.atleast_2d(bias)[0], 3)
    c = np.split(bias[1], 3) if bias.ndim == 2 else [np.zeros(units)] * 3
    hard = lambda a: np.clip(slope * a + 0.5, 0, 1)  # noqa: E731
    for x_t in x.swapaxes(0, 1):
        z = hard(x_t @ k[0] + b[0] + h @ u[0] + c[0])
        r = hard(x_t @ k[1] + b[1] + h @ u[1] + c[1])
        inner = r * (h @ u[2] + c[2]) if bias.ndim == 2 else (r * h) @ u[2]
        h = z * h + (1 - z) * np.tanh(x_t @ k[2] + b[2] + inner)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def same_as(gru, layers, **settings):
    x, h0 = RNG.standard_normal((3, 6, gru.input_size)), RNG.uniform(-1, 1, (len(layers), 3, gru.hidden_size))
    theirs = x
    for arrays, h in zip(layers, h0, strict=True):
        theirs = keras2_gru(arrays, theirs, h, **settings)
    return np.abs(gru(x.astype(gru.dtype), h0.astype(gru.dtype))[0] - theirs).max()


# ------------------------------------------------------------------------------------ files that Keras 3 writes


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras", reason="could not import 'keras', which these tests compare with")


def random_gru(*args, **options):
    return grus.GRU(*args, **{"init": "torch", "seed": 3} | options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("formulation", ["after", "before"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_grid_of_files(keras, tmp_path, num_layers, bidirectional, bias, formulation, dtype):
    gru = random_gru(
        3, 5, num_layers, bidirectional=bidirectional, bias=bias, formulation=formulation, dtype=dtype,
        activation="softsign",
    )  # fmt: skip
    model = to_keras(gru)
    exact = from_keras(model)
    said = {"activation": "softsign"} | ({} if bias else {"reset_after": formulation == "after"})
    for ending, arguments in {".keras": {}, ".weights.h5": said, ".h5": {}}.items():
        path, report = tmp_path / f"m{ending}", Report()
        (model.save_weights if "weights" in ending else model.save)(path)
        again = from_keras(path, report=report, **arguments)
        np.testing.assert_array_equal(again.flat, exact.flat)
        assert (again.config() | {"init": 0}) == (exact.config() | {"init": 0})
        assert report.difference <= {"float32": 1e-6, "float64": 1e-12}[dtype]
        assert report.found["layers"] == f"{num_layers}" + (", both directions" if bidirectional else "")


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_whole_model(keras, tmp_path, ending):
    kl = keras.layers
    leaky = lambda: {"activation": kl.LeakyReLU(negative_slope=0.3)}  # noqa: E731
    model = keras.Sequential(
        [
            keras.Input((None,)), kl.Embedding(9, 3), kl.GRU(4, return_sequences=True, name="zz", **leaky()),
            kl.Dropout(0.2), kl.GRU(4, name="aa", **leaky()), kl.Dense(2),
        ]
    )  # fmt: skip
    model.save(tmp_path / f"m{ending}")
    report = Report()
    gru = from_keras(tmp_path / f"m{ending}", report=report)
    for layer, name in enumerate(("zz", "aa")):
        z, r, n = np.split(keras.ops.convert_to_numpy(model.get_layer(name).cell.kernel.value), 3, axis=1)
        np.testing.assert_array_equal(gru.parameters[f"weight_ih_l{layer}"], np.concatenate([r.T, z.T, n.T]))
    assert "aa returns its last state alone, which in grus is h_n, not output" in report.notes
    assert any("left out: embedding" in note for note in report.notes)


def test_a_functional_model_and_backwards(keras, tmp_path):
    kl, x = keras.layers, keras.Input((None, 3))
    first = kl.GRU(4, return_sequences=True, go_backwards=True)(x)
    model = keras.Model(x, kl.RNN(kl.GRUCell(4), return_sequences=True)(kl.SpatialDropout1D(0.1)(first)))
    exact = from_keras(model)
    for ending in (".keras", ".h5"):
        model.save(tmp_path / f"m{ending}")
        again = from_keras(tmp_path / f"m{ending}")
        assert again.reverse
        np.testing.assert_array_equal(again.flat, exact.flat)


def test_weights_alone_say_little_and_the_notes_say_so(keras, tmp_path):
    kl = keras.layers
    model = keras.Sequential([keras.Input((None, 3)), *(kl.GRU(4, return_sequences=True) for _ in range(2))])
    model.save_weights(tmp_path / "m.weights.h5")
    report = Report()
    assert from_keras(tmp_path / "m.weights.h5", go_backwards=True, report=report).reverse
    alone = "a file of weights alone does not say"
    assert f"{alone} the activations: tanh and sigmoid unless the arguments say otherwise" in report.notes
    assert f"{alone} what stands between its GRUs: they were taken to follow one another" in report.notes


def test_weights_alone_of_twelve_layers_are_in_order(keras, tmp_path):
    gru = random_gru(3, 3, 12)
    to_keras(gru).save_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(from_keras(tmp_path / "m.weights.h5").flat, gru.flat)


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ("GRU LSTM GRU", "does not say in which order its layers stand, and it holds 'gru', 'gru_1', 'lstm'"),
        ("GRU Both", "in which order its layers stand, and it holds 'bidirectional', 'gru'"),
        ("LSTM", "and it holds 'lstm'"),
        ("Dense", "and it holds no GRU"),
    ],
)
def test_weights_alone_whose_order_is_unknown_are_refused(keras, tmp_path, layers, text):
    kl = keras.layers
    kinds = {
        "Both": lambda units, **options: kl.Bidirectional(kl.GRU(units, **options)),
        "GRU": kl.GRU,
        "LSTM": kl.LSTM,
    }
    made = [kl.Dense(4) if kind == "Dense" else kinds[kind](4, return_sequences=True) for kind in layers.split()]
    keras.Sequential([keras.Input((None, 3)), *made]).save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(ConversionError, match=text):
        from_keras(tmp_path / "m.weights.h5")


def test_weights_alone_without_biases_need_the_formulation(keras, tmp_path):
    to_keras(random_gru(3, 4, bias=False)).save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(
        ConversionError, match=r"no configuration that says it: pass reset_after=True \(Keras' default"
    ):
        from_keras(tmp_path / "m.weights.h5")


def test_files_need_no_keras(tmp_path):
    write_keras2(tmp_path / "m.h5", {"g": named(arrays_of(3, 4), "g")}, sequential(gru_config("g")))
    code = f"""
import sys
sys.modules["keras"] = None
from grus.keras import from_keras
print(from_keras({str(tmp_path / "m.h5")!r}).num_layers)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["1"]


def test_a_missing_h5py_is_an_import_error(tmp_path, monkeypatch):
    write_keras2(tmp_path / "m.h5", {})
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match="read with h5py, which is not installed: pip install h5py"):
        from_keras(tmp_path / "m.h5")


# --------------------------------------------------------------------------------------------- files of Keras 2


@pytest.mark.parametrize(("version", "slope"), [("2.2.4", 0.2), ("2.4.0-tf", 0.2), ("3.8.0", 1 / 6)])
@pytest.mark.parametrize("reset_after", [True, False])
def test_hard_sigmoid_is_of_the_version_that_wrote_it(tmp_path, version, slope, reset_after):
    layers = [arrays_of(3, 4, reset_after), arrays_of(4, 4, reset_after)]
    write_keras2(
        tmp_path / "m.h5",
        {"g": named(layers[0], "g"), "dropout": {}, "g_1": named(layers[1], "g_1/gru_cell")},
        sequential(
            gru_config("g", reset_after=reset_after),
            {"class_name": "Dropout", "config": {"name": "dropout", "rate": 0.2}},
            gru_config("g_1", reset_after=reset_after),
        ),
        version,
    )
    gru = from_keras(tmp_path / "m.h5")
    assert gru.formulation.reset_activation.parameters["alpha"] == pytest.approx(slope)
    assert same_as(gru, layers, slope=slope) <= 1e-6


def test_before_reset_after_existed_the_biases_shape_says_it(tmp_path):
    """Keras before 2.1.3 wrote no reset_after; a list of layers was a Sequential's whole configuration."""
    arrays = arrays_of(3, 4, reset_after=False)
    config = {"class_name": "Sequential", "config": [gru_config("g")]}
    gru = from_keras(write_keras2(tmp_path / "m.h5", {"g": named(arrays, "g")}, config))
    assert gru.formulation.reset == "before"
    assert same_as(gru, [arrays]) <= 1e-6


def test_keras_itself_reads_such_a_file_as_we_do(keras, tmp_path):
    arrays = arrays_of(3, 4, reset_after=False)
    first = {"class_name": "InputLayer", "config": {"name": "i", "batch_input_shape": [None, None, 3]}}
    entry = gru_config("g", reset_after=False, implementation=1, recurrent_activation="sigmoid")
    write_keras2(tmp_path / "m.h5", {"g": named(arrays, "g")}, sequential(first, entry))
    model = keras.models.load_model(tmp_path / "m.h5", compile=False)
    x = RNG.standard_normal((2, 5, 3)).astype("float32")
    theirs = keras.ops.convert_to_numpy(model(x))
    assert np.abs(from_keras(tmp_path / "m.h5")(x)[0] - theirs).max() <= 1e-6


def test_a_functional_model_of_keras_2(tmp_path):
    layers = [arrays_of(3, 4), arrays_of(4, 4)]
    nodes = ([[["in", 0, 0, {}], ["state", 0, 0, {}]]], [[["a", 0, 0, {}]]])
    entries = [
        {"class_name": "InputLayer", "name": "in", "config": {"name": "in"}, "inbound_nodes": []},
        {"class_name": "InputLayer", "name": "state", "config": {"name": "state"}, "inbound_nodes": []},
        *(
            gru_config(name) | {"name": name, "inbound_nodes": node}
            for name, node in zip("ab", nodes, strict=True)
        ),
    ]
    config = {"class_name": "Model", "config": {"name": "m", "layers": entries}}
    weights = {name: named(arrays, name) for name, arrays in zip("ab", layers, strict=True)}
    report = Report()
    gru = from_keras(write_keras2(tmp_path / "m.h5", weights, config), report=report)
    assert same_as(gru, layers) <= 1e-6
    assert report.notes == ["a starts from another layer's output: give it to grus as h0"]


def test_both_directions_whatever_the_order_of_their_names(tmp_path):
    forward, backward = arrays_of(3, 4), arrays_of(3, 4)
    config = sequential(
        {
            "class_name": "Bidirectional",
            "config": {"name": "b", "merge_mode": "concat", "layer": gru_config("g", reset_after=True)},
        }
    )
    weights = {"b": named(backward, "b/backward_g/cell") | named(forward, "b/forward_g/cell")}
    gru = from_keras(write_keras2(tmp_path / "m.h5", weights, config))
    alone = from_keras(write_keras2(tmp_path / "w.h5", weights), recurrent_activation="hard_sigmoid")
    z, r, n = np.split(forward["kernel"], 3, axis=1)
    np.testing.assert_array_equal(gru.parameters["weight_ih_l0"], np.concatenate([r.T, z.T, n.T]))
    np.testing.assert_array_equal(alone.flat, gru.flat)
    assert alone.formulation == gru.formulation


def test_weights_alone_of_keras_2(tmp_path):
    layers = [arrays_of(3, 4), arrays_of(4, 4)]
    weights = {"e": {"e/embeddings:0": np.ones((9, 3))}, "g": named(layers[0], "g"), "a": named(layers[1], "a")}
    weights["head"] = {"head/kernel:0": np.ones((4, 2))}
    gru = from_keras(write_keras2(tmp_path / "m.h5", weights), recurrent_activation="hard_sigmoid")
    assert same_as(gru, layers) <= 1e-6


def test_names_of_many_layers_are_cut_into_pieces(tmp_path):
    path = write_keras2(tmp_path / "m.h5", {"g": named(arrays_of(3, 4), "g"), "h": named(arrays_of(4, 4), "h")})
    with h5py.File(path, "a") as file:
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = [b"g"], [b"h"]
    assert from_keras(path).num_layers == 2


def test_a_file_of_tensorflow_2_13_is_keras_2(tmp_path):
    """``.keras`` with its container's older name."""
    arrays = arrays_of(3, 4)
    gru = from_keras(
        write_archive(
            tmp_path / "m.keras",
            sequential(gru_config("g", reset_after=True)),
            {f"_layer_checkpoint_dependencies/gru/cell/vars/{k}": each for k, each in enumerate(arrays.values())},
            "2.13.1",
        )
    )
    assert same_as(gru, [arrays]) <= 1e-6


# ---------------------------------------------------------------------------------------------------- wrong files


def write_archive(path, config, arrays, version="3.8.0", leave_out=()):
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    members = {"config.json": json.dumps(config), "model.weights.h5": content.getvalue()}
    if version is not None:
        members["metadata.json"] = json.dumps({"keras_version": version})
    with zipfile.ZipFile(path, "w") as archive:
        for name, member in members.items():
            if name not in leave_out:
                archive.writestr(name, member)
    return path


def keras3(path, config=None, arrays=None, key="gru", **options):
    arrays = arrays_of(3, 4) if arrays is None else arrays
    names = {f"layers/{key}/cell/vars/{k}": each for k, each in enumerate(arrays.values())}
    return write_archive(path, config or sequential(gru_config("g", reset_after=True)), names, **options)


WRONG = {
    "the flag lies": (
        lambda path: keras3(path, sequential(gru_config("g", reset_after=False))),
        r"contradicts itself: its configuration means reset_after=False, its bias of shape \(2, 12\) means reset",
    ),
    "units lie": (
        lambda path: keras3(path, sequential(gru_config("g", 5))),
        "has units=5 but a recurrent_kernel of 4 units",
    ),
    "use_bias lies": (
        lambda path: keras3(path, sequential(gru_config("g", use_bias=False))),
        "has use_bias=False, against its 3 arrays",
    ),
    "a bias of another shape": (
        lambda path: keras3(path, arrays=arrays_of(3, 4) | {"bias": np.ones((3, 12), "float32")}),
        r"bias must have shape \(2, 12\) or \(12,\); got \(3, 12\)",
    ),
    "a kernel of another shape": (
        lambda path: keras3(path, arrays=arrays_of(3, 4) | {"kernel": np.ones((3, 9), "float32")}),
        r"kernel must have shape \(any, 12\); got \(3, 9\)",
    ),
    "an LSTM's shape": (
        lambda path: keras3(path, arrays=arrays_of(3, 4) | {"recurrent_kernel": np.ones((4, 16), "float32")}),
        r"recurrent_kernel must have shape \(4, 12\); got \(4, 16\)",
    ),
    "whole numbers": (
        lambda path: keras3(path, arrays={k: a.astype(int) for k, a in arrays_of(3, 4).items()}),
        "g/kernel'] must be float32 or float64; got int64",
    ),
    "two dtypes": (
        lambda path: keras3(path, arrays=arrays_of(3, 4) | {"bias": np.ones((2, 12))}),
        "must be of one dtype; got float32 and float64",
    ),
    "a layer missing": (
        lambda path: keras3(path, sequential(gru_config("g", reset_after=True), gru_config("h"))),
        "'gru_1/cell/vars' is missing, or a link",
    ),
    "an array missing": (
        lambda path: keras3(path, arrays={"kernel": np.ones((3, 12), "float32")}),
        "'gru/cell/vars' must hold the arrays 0, 1 and, with a bias, 2; got \\['0'\\]",
    ),
    "no configuration": (
        lambda path: keras3(path, leave_out=["config.json"]),
        "a .keras file holds config.json and model.weights.h5; config.json is missing",
    ),
    "no version": (
        lambda path: keras3(path, version=None, key="nothing"),
        "is missing, or a link",
    ),
    "Keras 1": (
        lambda path: keras3(path, sequential({"class_name": "GRU", "config": {"name": "g", "output_dim": 4}})),
        "layer 'g' does not say its units, activation, recurrent_activation, use_bias: .* or of Keras 1",
    ),
    "CuDNNGRU": (
        lambda path: keras3(path, sequential({"class_name": "CuDNNGRU", "config": {"name": "g"}})),
        "layer 'g' is a CuDNNGRU, whose weights are laid out otherwise",
    ),
    "a class of a user with Keras' name": (
        lambda path: keras3(path, sequential(gru_config("g") | {"module": "mine", "registered_name": "mine>GRU"})),
        r"layer 'g' \(GRU\) holds or extends a GRU in a way that grus does not know",
    ),
    "an activation that is a list": (
        lambda path: keras3(path, sequential(gru_config("g", activation=["tanh"]))),
        r"layer 'g': activation is \['tanh'\], which grus has not",
    ),
    "an activation with code": (
        lambda path: keras3(
            path,
            sequential(
                gru_config("g", activation={"class_name": "__lambda__", "config": {"value": "4wEAAAAAAAAA"}})
            ),
        ),
        "activation is '__lambda__' with",
    ),
    "a layer with code between": (
        lambda path: keras3(
            path,
            sequential(
                gru_config("g", reset_after=True),
                {"class_name": "Lambda", "config": {"name": "l", "function": {"class_name": "__lambda__"}}},
                gru_config("h", reset_after=True),
            ),
        ),
        r"with at most dropout between; here g reads an input, h reads l \(Lambda\)",
    ),
    "a circle": (
        lambda path: keras3(
            path,
            {
                "class_name": "Functional",
                "config": {
                    "layers": [
                        gru_config("g") | {"inbound_nodes": [[["a", 0, 0, {}]]]},
                        *(
                            {
                                "class_name": "Dropout",
                                "config": {"name": name},
                                "inbound_nodes": [[[other, 0, 0, {}]]],
                            }
                            for name, other in ("ab", "ba")
                        ),
                    ]
                },
            },
        ),
        "the model's layers read each other in a circle: its configuration is damaged",
    ),
    "two circles": (
        lambda path: keras3(
            path,
            {
                "class_name": "Functional",
                "config": {
                    "layers": [
                        gru_config(name) | {"inbound_nodes": [[[other, 0, 0, {}]]] if other else []}
                        for name, other in (("g", ""), ("a", "b"), ("b", "a"))
                    ]
                },
            },
        ),
        "read each other in a circle",
    ),
    "a configuration that is none": (
        lambda path: keras3(path, [1, 2]),
        r"is not a file of Keras \(.keras, .weights.h5, .h5\), or it is damaged or cut short \(TypeError",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_archives_are_refused(tmp_path, case):
    write, text = WRONG[case]
    path = write(tmp_path / "m.keras")
    with pytest.raises(ConversionError, match=text):
        from_keras(path)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.97])
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_files_cut_short_are_refused(tmp_path, ending, share):
    path = tmp_path / f"m{ending}"
    if ending == ".keras":
        keras3(path)
    else:
        write_keras2(path, {"g": named(arrays_of(3, 4), "g")}, sequential(gru_config("g")))
    assert from_keras(path).num_layers == 1
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ConversionError, match=r"is not a file of Keras .* or it is damaged or cut short"):
        from_keras(path)


@pytest.mark.parametrize("place", [0.3, 0.5])
def test_a_flipped_bit_in_an_archive_is_refused(tmp_path, place):
    path = keras3(tmp_path / "m.keras")
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 4
    path.write_bytes(content)
    with pytest.raises(ConversionError, match="damaged or cut short"):
        from_keras(path)


def test_a_pickle_with_code_is_not_run(tmp_path):
    import pickle

    class Code:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    (tmp_path / "m.h5").write_bytes(pickle.dumps(Code()))
    with pytest.raises(ConversionError, match="is not a file of Keras"):
        from_keras(tmp_path / "m.h5")
    assert not (tmp_path / "ran").exists()


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no Keras file at '.*m\.keras'"):
        from_keras(tmp_path / "m.keras")


def change(path, edit):
    with h5py.File(path, "a") as file:
        edit(file)
    return path


@pytest.mark.parametrize("link", ["soft", "external"])
def test_links_out_of_the_file_are_not_followed(tmp_path, link):
    write_keras2(tmp_path / "other.h5", {"g": named(arrays_of(3, 4), "g")})
    path = write_keras2(tmp_path / "m.h5", {"g": named(arrays_of(3, 4), "g")})

    def edit(file):
        del file["g/g/kernel:0"]
        target = (
            h5py.ExternalLink("other.h5", "g/g/kernel:0") if link == "external" else h5py.SoftLink("/g/g/bias:0")
        )
        file["g/g/kernel:0"] = target

    with pytest.raises(ConversionError, match="'g/g/kernel:0' is missing, or a link: a layer's weights must lie"):
        from_keras(change(path, edit))


def test_numbers_of_another_file_are_not_read(tmp_path):
    (tmp_path / "secret").write_bytes(np.ones((3, 12), "float32").tobytes())
    path = write_keras2(tmp_path / "m.h5", {"g": named(arrays_of(3, 4), "g")})

    def edit(file):
        del file["g/g/kernel:0"]
        file["g/g"].create_dataset("kernel:0", (3, 12), "float32", external=str(tmp_path / "secret"))

    with pytest.raises(ConversionError, match="takes its numbers from another file"):
        from_keras(change(path, edit))


def test_an_array_that_claims_more_than_the_file_holds(tmp_path):
    path = write_keras2(tmp_path / "m.h5", {"g": named(arrays_of(3, 4), "g")})

    def edit(file):
        del file["g/g/kernel:0"]
        file["g/g"].create_dataset("kernel:0", (10**6, 12), "float32", chunks=(10, 12))

    with pytest.raises(ConversionError, match="claims 48000000 bytes in a file of"):
        from_keras(change(path, edit))


@pytest.mark.parametrize(
    ("weights", "config", "text"),
    [
        (
            {"g": {}},
            sequential(gru_config("g")),
            r"layer 'g' must have kernel, .* for each of 1 direction\(s\); got \[\]",
        ),
        ({"h": {}}, sequential(gru_config("g")), "'g' is missing, or a link"),
        ({"d": {"d/kernel:0": np.ones((2, 2))}}, None, "it holds no GRU; its layers with weights are d"),
        ({}, None, "it holds no GRU; its layers with weights are none"),
    ],
)
def test_wrong_files_of_keras_2(tmp_path, weights, config, text):
    with pytest.raises(ConversionError, match=text):
        from_keras(write_keras2(tmp_path / "m.h5", weights, config))


def test_weights_alone_of_keras_2_with_a_layer_between(tmp_path):
    weights = {
        "g": named(arrays_of(3, 4), "g"), "d": {"d/kernel:0": np.ones((4, 4))}, "h": named(arrays_of(4, 4), "h")
    }  # fmt: skip
    with pytest.raises(ConversionError, match="d stands between the GRUs g, h and would be lost"):
        from_keras(write_keras2(tmp_path / "m.h5", weights))


def test_weights_alone_of_keras_2_of_a_model_in_a_model(tmp_path):
    weights = {"m": named(arrays_of(3, 4), "g") | named(arrays_of(4, 4), "h")}
    with pytest.raises(ConversionError, match=r"layer 'm' holds several GRUs \(g, h\): it is a model of its own"):
        from_keras(write_keras2(tmp_path / "m.h5", weights))


def test_hard_sigmoid_of_no_known_version_must_be_said(tmp_path):
    arrays = arrays_of(3, 4)
    path = write_keras2(tmp_path / "m.h5", {"g": named(arrays, "g")}, sequential(gru_config("g")), version=None)
    with pytest.raises(
        ConversionError, match=r"does not say which Keras wrote it: it is 0.2x \+ 0.5 in Keras 2, x/6"
    ):
        from_keras(path)
    gru = from_keras(path, recurrent_activation="hard_sigmoid_keras2")
    assert same_as(gru, [arrays]) <= 1e-6
