"""Model files: the same bits after a round trip, and a clear error for every file that is not one."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import grus
from grus import io, nn


def a_gru() -> grus.GRU:
    options = {
        "activation": grus.Activation("leaky_relu", alpha=0.3),
        "gate_activation": ("sigmoid", "hard_sigmoid"),
    }
    return grus.GRU(3, 4, 2, bidirectional=True, reset_after=False, dropout=0.25, seed=0, **options)


def a_sequential() -> nn.Sequential:
    layers = [
        nn.Embedding(5, learning_rate=nn.Cosine(0.1, warmup=1)),
        nn.GRU(4, sequences=True, bidirectional=True, clip_norm=0.25),
        nn.Dropout(0.5, axis=1),
        nn.Pool("max"),
        nn.Dense(3, grus.Activation("softmax", temperature=2.0), name="head"),
    ]
    return nn.Sequential(layers, dtype="float64", seed=0).build(np.array([list("ATGC")]))


def a_classifier() -> Any:
    rng = np.random.default_rng(0)
    x = [rng.standard_normal((t, 2)) for t in rng.integers(3, 9, 30)]
    labels = np.array(["no", "yes"])[[int(each[:, 0].mean() > 0) for each in x]]
    return grus.GRUClassifier(hidden_size=4, epochs=3, random_state=0).fit(x, labels)


def a_regressor() -> Any:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 5, 2))
    return grus.GRURegressor(hidden_size=4, epochs=3, random_state=0).fit(x, x[:, :, 0].sum(axis=1))


INPUTS = {
    "GRU": lambda: np.random.default_rng(1).standard_normal((2, 5, 3)).astype("float32"),
    "Sequential": lambda: np.array([list("GATTACA"), list("CATCATC")]),
    "GRUClassifier": lambda: [np.random.default_rng(1).standard_normal((t, 2)) for t in (4, 7)],
    "GRURegressor": lambda: np.random.default_rng(1).standard_normal((3, 5, 2)),
}
MODELS = {"GRU": a_gru, "Sequential": a_sequential, "GRUClassifier": a_classifier, "GRURegressor": a_regressor}


def outputs(model: Any, x: Any) -> list[np.ndarray]:
    if isinstance(model, grus.GRU):
        return list(model(x))
    found = [model.predict(x)]
    return [*found, model.predict_proba(x)] if hasattr(model, "predict_proba") else found


@pytest.mark.parametrize("kind", MODELS)
def test_a_loaded_model_gives_the_same_bits(kind: str, tmp_path: Path) -> None:
    model, path = MODELS[kind](), tmp_path / "model.safetensors"
    grus.save(model, path, notes={"made for": "a test"})
    loaded = grus.load(path)
    assert type(loaded) is type(model)
    for before, after in zip(outputs(model, INPUTS[kind]()), outputs(loaded, INPUTS[kind]()), strict=True):
        np.testing.assert_array_equal(before, after)
        assert before.dtype == after.dtype
    header = io.inspect(path)
    assert (header["kind"], header["notes"]) == (kind, {"made for": "a test"})
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("kind", ["GRU", "Sequential"])
def test_a_loaded_model_is_the_same_model(kind: str, tmp_path: Path) -> None:
    model, path = MODELS[kind](), tmp_path / "model.safetensors"
    grus.save(model, path)
    loaded = grus.load(path)
    assert json.dumps(loaded.config()) == json.dumps(model.config())
    assert repr(loaded) == repr(model)


def test_a_loaded_model_can_be_trained_on(tmp_path: Path) -> None:
    model = a_sequential()
    grus.save(model, tmp_path / "m")
    x, y = np.array([list("GATTACA"), list("CATCATC")]), np.array([0, 2])
    histories = [
        m.fit(x, y, loss="categorical_crossentropy", epochs=2, seed=0) for m in (model, grus.load(tmp_path / "m"))
    ]
    assert histories[0]["loss"] == histories[1]["loss"]


@pytest.mark.parametrize("kind", MODELS)
def test_a_file_cut_anywhere_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    grus.save(MODELS[kind](), path)
    whole = path.read_bytes()
    for size in {0, 1, 7, 8, 9, 100, *np.random.default_rng(0).integers(0, len(whole), 40), len(whole) - 1}:
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"is not a model file of grus, or it is damaged or cut short"):
            grus.load(path)


def test_a_file_with_flipped_bytes_is_refused_or_loads(tmp_path: Path) -> None:
    """Damage in the numbers can't be seen; damage in the header must never be anything but a ValueError."""
    path = tmp_path / "model.safetensors"
    grus.save(a_gru(), path)
    whole = bytearray(path.read_bytes())
    header = int.from_bytes(whole[:8], "little") + 8
    refused = 0
    for at in np.random.default_rng(0).integers(0, header, 200):
        damaged = bytearray(whole)
        damaged[at] ^= 0x15
        path.write_bytes(damaged)
        try:
            grus.load(path)
        except ValueError:
            refused += 1
    assert refused > 100


def header(**changes: Any) -> dict[str, Any]:
    return {"format": 1, "grus_version": "0.1.0", "kind": "GRU", "config": a_gru().config(), "notes": {}} | changes


def write(path: Path, arrays: dict[str, np.ndarray], text: Any) -> None:
    path.write_bytes(safetensors.numpy.save(arrays, {"grus": text if isinstance(text, str) else json.dumps(text)}))


def test_foreign_and_newer_files_are_refused(tmp_path: Path) -> None:
    path, arrays = tmp_path / "model", a_gru().state_dict()
    path.write_bytes(safetensors.numpy.save(arrays))
    with pytest.raises(ValueError, match=r"is a safetensors file, but not one that grus.save wrote"):
        grus.load(path)
    write(path, arrays, header(format=2, grus_version="9.0"))
    with pytest.raises(
        ValueError, match=r"was written by grus 9.0 in format 2; this grus .* reads up to format 1\. U"
    ):
        grus.load(path)
    write(path, arrays, "{not json")
    with pytest.raises(ValueError, match=r"has a damaged header"):
        grus.load(path)
    write(path, arrays, header(kind="os.system"))
    with pytest.raises(ValueError, match=r"the kind of model in the file must be one of GRU, .*; got 'os.system'"):
        grus.load(path)
    write(path, {**arrays, "more": np.ones(2)}, header())
    with pytest.raises(ValueError, match=r"says it holds a GRU, but its contents do not fit: .*unknown more"):
        grus.load(path)
    write(path, arrays, header(config={"input_size": 3}))
    with pytest.raises(ValueError, match=r"says it holds a GRU, but its contents do not fit"):
        grus.load(path)
    with pytest.raises(FileNotFoundError, match=r"there is no model file at"):
        grus.load(tmp_path / "nothing")


class Bomb:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {Path.cwd() / 'exploded'}",)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bomb").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="is not a model file of grus"):
        grus.load(tmp_path / "bomb")
    assert not (tmp_path / "exploded").exists()


def test_what_can_not_be_saved(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"model must be one of GRU, Sequential, .*; got dict\."):
        grus.save({}, tmp_path / "m")
    with pytest.raises(ValueError, match=r"has no parameters yet: call fit or build\(x\) first"):
        grus.save(nn.Sequential([nn.GRU(2)]), tmp_path / "m")
    with pytest.raises(ValueError, match="complex128 model is for checking derivatives"):
        grus.save(grus.GRU(1, 1, dtype="complex128"), tmp_path / "m")
    with pytest.raises(TypeError, match="notes must hold only what JSON can"):
        grus.save(a_gru(), tmp_path / "m", notes={"x": object()})
    with pytest.raises(FileNotFoundError, match="does not exist; make it"):
        grus.save(a_gru(), tmp_path / "no" / "m")
    with pytest.raises(ValueError, match="not fitted"):
        grus.save(grus.GRUClassifier(), tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m"
    grus.save(a_gru(), path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        grus.save(grus.GRU(1, 1), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["m"]
