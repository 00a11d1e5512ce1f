"""Checkpoints: a run that is killed at any moment goes on to the same bits; no file is ever half written."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from grus import nn
from grus._files import read_tensors, write_atomically

# What a child process runs: python -c SCRIPT settings-as-JSON. It says "ready" when training begins, and can be
# told to kill itself in the midst of writing its n-th checkpoint of this life.
SCRIPT = """
import json, os, signal, sys, time
import numpy as np
from grus import nn

given = json.loads(sys.argv[1])

def die():
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

def dying(original, when, left):
    def patched(*arguments):
        left[0] -= 1
        if left[0] == 0 and when == "before":
            die()
        result = original(*arguments)
        if left[0] == 0 and when == "after":
            die()
        return result
    return patched

if given["die"]:
    when, name, count = given["die"]
    setattr(os, name, dying(getattr(os, name), when, [count]))

rng = np.random.default_rng(7)
x = [rng.standard_normal((t, 2)).astype(np.float32) for t in rng.integers(1, 7, 24)]
y = rng.integers(0, 2, 24)
optimisers = {
    "adam": nn.Adam(nn.Cosine(0.02, warmup=2)),
    "sgd": nn.SGD(nn.LinDecay(0.3, k=0.001), momentum=0.9, nesterov=True),
}
layers = [nn.GRU(4, sequences=True), nn.Dropout(0.2), nn.Pool("mean"), nn.Dense(2, "softmax", learning_rate=0.01)]
model = nn.Sequential(layers, seed=given["model_seed"])
settings = dict(
    loss="categorical_crossentropy", metrics=["accuracy"], batch_size=5, validation_fraction=0.25, patience=1000,
    clip_norm=1.0, epochs=given["epochs"], checkpoint=given["checkpoint"], resume=given["checkpoint"] is not None,
    group_by_length=given["optimiser"] == "sgd", optimiser=optimisers[given["optimiser"]], seed=4,
)
print("ready", flush=True)
started = time.perf_counter()
history = model.fit(x, y, **settings)
print(json.dumps({
    "seconds": time.perf_counter() - started, "flat": model.flat.tobytes().hex(), "best_epoch": history.best_epoch,
    "stopped": history.stopped, "history": {k: v for k, v in history.items() if k != "seconds"},
}), flush=True)
"""
EPOCHS = 80


def start(
    optimiser: str, checkpoint: Path | None, *, die: Any = None, epochs: int = EPOCHS
) -> subprocess.Popen[str]:
    """A child that trains; the initial weights differ from life to life, as they do without a seed."""
    given = {
        "optimiser": optimiser,
        "checkpoint": None if checkpoint is None else str(checkpoint),
        "die": die,
        "epochs": epochs,
        "model_seed": 0 if checkpoint is None or not checkpoint.exists() else 99,
    }
    command = [sys.executable, "-c", SCRIPT, json.dumps(given)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    if child.stdout.readline() != "ready\n":
        raise AssertionError(child.communicate()[1])
    return child


def finish(child: subprocess.Popen[str]) -> dict[str, Any] | None:
    """What a child says at its end; None where it was killed."""
    assert child.stdout is not None
    assert child.stderr is not None
    with child:  # not communicate(): it would miss what readline() has read ahead of a child that was quick
        out, err = child.stdout.read(), child.stderr.read()
    if child.returncode == 0:
        return json.loads(out)
    assert child.returncode == -signal.SIGKILL if os.name == "posix" else "Traceback" not in err, err
    return None


def assert_readable(checkpoint: Path) -> None:
    """Whole or absent, at every moment."""
    if checkpoint.exists():
        arrays, metadata = read_tensors(checkpoint, "checkpoint")
        saved = json.loads(metadata["grus_checkpoint"])
        assert {len(column) for column in saved["history"].values()} == {saved["epoch"]}
        assert arrays["flat"].shape == arrays["best_flat"].shape
        assert arrays["optimiser.step"] == 4 * saved["epoch"]  # 18 sequences, 5 in a batch


def state_of(checkpoint: Path) -> dict[str, Any]:
    """All that a checkpoint holds, as bytes and numbers, but the seconds."""
    arrays, metadata = read_tensors(checkpoint, "checkpoint")
    saved = json.loads(metadata["grus_checkpoint"])
    del saved["history"]["seconds"], saved["digest"]
    return saved | {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in arrays.items()}


def assert_same_end(result: dict[str, Any], whole: dict[str, Any]) -> None:
    for name in ("flat", "best_epoch", "stopped", "history"):
        assert result[name] == whole[name], name


@pytest.fixture(scope="module", params=["adam", "sgd"])
def never_killed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run from beginning to end: what it says, and its last checkpoint."""
    checkpoint = tmp_path_factory.mktemp("whole") / "run.checkpoint"
    result = finish(start(request.param, checkpoint))
    assert result is not None
    assert result["stopped"] == "epochs"
    assert len(result["history"]["val_loss"]) == EPOCHS
    assert 1 < result["best_epoch"] < EPOCHS  # so that the best weights are not the last
    return result | {"optimiser": request.param, "state": state_of(checkpoint)}


def test_a_checkpoint_changes_nothing(never_killed: dict[str, Any]) -> None:
    plain = finish(start(never_killed["optimiser"], None))
    assert plain is not None
    assert_same_end(plain, never_killed)


def test_a_run_killed_at_random_moments_ends_with_the_same_bits(
    never_killed: dict[str, Any], tmp_path: Path
) -> None:
    seed = int(os.environ.get("GRUS_TEST_SEED", np.random.SeedSequence().generate_state(1)[0]))
    print(f"GRUS_TEST_SEED={seed}")
    checkpoint = tmp_path / "run.checkpoint"
    for delay in np.random.default_rng(seed).uniform(0, 0.5 * never_killed["seconds"], 3):
        child = start(never_killed["optimiser"], checkpoint)
        time.sleep(delay)
        child.kill()
        finish(child)
        assert_readable(checkpoint)
    result = finish(start(never_killed["optimiser"], checkpoint))
    assert result is not None
    assert_same_end(result, never_killed)
    assert state_of(checkpoint) == never_killed["state"]


def test_a_run_killed_while_it_writes_ends_with_the_same_bits(
    never_killed: dict[str, Any], tmp_path: Path
) -> None:
    """Each life dies in the midst of a checkpoint; from the first one on, the file is whole."""
    checkpoint = tmp_path / "run.checkpoint"
    deaths = [("before", "fsync", 1), ("after", "replace", 1), ("before", "replace", 3), ("after", "fsync", 9)]
    epochs = [None, 1, 3, 11]  # those that the file then knows
    for die, expected in zip(deaths, epochs, strict=True):
        assert finish(start(never_killed["optimiser"], checkpoint, die=die)) is None
        assert checkpoint.exists() == (expected is not None)
        assert_readable(checkpoint)
        if expected is not None:
            assert state_of(checkpoint)["epoch"] == expected
    result = finish(start(never_killed["optimiser"], checkpoint))
    assert result is not None
    assert_same_end(result, never_killed)
    assert state_of(checkpoint) == never_killed["state"]


# ------------------------------------------------------------------------------------------------- in one process


def data(count: int = 20, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((t, 2)) for t in rng.integers(1, 6, count)], rng.standard_normal(count)


def run(checkpoint: Path | None, epochs: int = 4, **changes: Any) -> tuple[nn.Sequential, nn.History]:
    x, y = changes.pop("data", data())
    units, model_seed = changes.pop("units", 3), changes.pop("model_seed", 0)
    model = nn.Sequential([nn.GRU(units), nn.Dropout(0.2), nn.Dense(1)], seed=model_seed)
    settings = {"loss": "mse", "batch_size": 6, "seed": 1, "resume": checkpoint is not None, **changes}
    return model, model.fit(x, y, epochs=epochs, checkpoint=checkpoint, **settings)


def without_seconds(history: nn.History) -> dict[str, list[float]]:
    return {name: column for name, column in history.items() if name != "seconds"}


@pytest.mark.parametrize("group_by_length", [False, True])
@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
def test_more_epochs_continue(optimiser: str, group_by_length: bool, tmp_path: Path) -> None:
    settings = {"optimiser": optimiser, "group_by_length": group_by_length, "validation_fraction": 0.3}
    checkpoint = tmp_path / "c"
    whole, history = run(None, 9, **settings)
    for epochs, model_seed in ((2, 0), (3, 4), (9, 5)):
        part, part_history = run(checkpoint, epochs, model_seed=model_seed, **settings)
        assert part_history.epochs == epochs
    np.testing.assert_array_equal(part.flat, whole.flat)
    assert without_seconds(part_history) == without_seconds(history)
    assert part_history.best_epoch == history.best_epoch


def test_a_finished_run_returns_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tmp_path / "c"
    first, history = run(checkpoint)
    content = checkpoint.read_bytes()
    monkeypatch.setattr(nn.Adam, "step", None)  # nothing is trained
    again, history_again = run(checkpoint, model_seed=5)
    np.testing.assert_array_equal(again.flat, first.flat)
    assert dict(history_again) == dict(history)  # the seconds too
    assert (history_again.stopped, history_again.best_epoch) == ("epochs", history.best_epoch)
    assert checkpoint.read_bytes() == content


def test_a_run_that_stopped_early_stays_stopped(tmp_path: Path) -> None:
    settings = {"patience": 2, "learning_rate": 0.3, "validation_fraction": 0.3}
    checkpoint = tmp_path / "c"
    first, history = run(checkpoint, 60, **settings)
    assert history.stopped == "early stopping"
    again, history_again = run(checkpoint, 90, **settings)
    assert history_again.stopped == "early stopping"
    assert dict(history_again) == dict(history)
    np.testing.assert_array_equal(again.flat, first.flat)


@pytest.mark.parametrize("every", [1, 2, 3, 50])
def test_checkpoint_every_few_epochs(every: int, tmp_path: Path) -> None:
    """A run that is interrupted in epoch 6 goes on from the last multiple; the last epoch is always kept."""

    def interrupt(model: nn.Sequential, epoch: int, row: dict[str, float]) -> None:
        if epoch == 5:
            raise KeyboardInterrupt

    checkpoint, whole = tmp_path / "c", run(None, 8)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint, 8, checkpoint_every=every, callbacks=[interrupt])
    assert checkpoint.exists() == (every <= 5)
    if checkpoint.exists():
        assert state_of(checkpoint)["epoch"] == 5 // every * every
    again, history = run(checkpoint, 8, checkpoint_every=every)
    np.testing.assert_array_equal(again.flat, whole[0].flat)
    assert without_seconds(history) == without_seconds(whole[1])
    assert state_of(checkpoint)["epoch"] == 8


def test_an_unseeded_run_goes_on_with_the_seed_it_drew(tmp_path: Path) -> None:
    """The same rows are held out, and the next epochs are those that would have come."""
    checkpoint = tmp_path / "c"
    settings = {"seed": None, "validation_fraction": 0.3}
    run(checkpoint, 2, **settings)
    drawn = state_of(checkpoint)["seed"]
    again, history = run(checkpoint, 5, **settings)
    whole, expected = run(None, 5, seed=drawn, validation_fraction=0.3)
    np.testing.assert_array_equal(again.flat, whole.flat)
    assert without_seconds(history) == without_seconds(expected)


def test_the_optimiser_that_is_passed_gets_the_state_of_the_run(tmp_path: Path) -> None:
    optimiser, other = nn.Adam(0.01), nn.Adam(0.01)
    run(tmp_path / "c", 3, optimiser=optimiser)
    run(tmp_path / "c", 3, optimiser=other)
    assert other.steps == optimiser.steps == 12
    for name, array in optimiser.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], array)


def test_a_checkpoint_without_resume_is_begun_anew(tmp_path: Path) -> None:
    checkpoint = tmp_path / "c"
    run(checkpoint, 4)
    _, history = run(checkpoint, 2, resume=False)
    assert history.epochs == 2
    assert state_of(checkpoint)["epoch"] == 2


def changed_data(part: int) -> tuple[list[np.ndarray], np.ndarray]:
    """One number in x or in y is another."""
    x, y = data()
    (x[3][0] if part == 0 else y)[0] += 1e-3
    return x, y


def cut_differently() -> tuple[list[np.ndarray], np.ndarray]:
    """The same numbers in the same order, as sequences of other lengths."""
    x, y = data()
    ends = np.cumsum([len(each) for each in x[::-1]])[:-1]
    return np.split(np.concatenate(x), ends), y


OTHER_RUNS: dict[str, dict[str, Any]] = {
    "x": {"data": changed_data(0)},
    "y": {"data": changed_data(1)},
    "lengths": {"data": cut_differently()},
    "fewer rows": {"data": (data()[0][:-1], data()[1][:-1])},
    "weights": {"sample_weight": np.ones(20)},
    "validation": {"validation_fraction": 0.5},
    "model": {"units": 4},
    "loss": {"loss": "mae"},
    "optimiser": {"optimiser": "sgd"},
    "learning rate": {"learning_rate": 0.5},
    "schedule": {"learning_rate": nn.Cosine(1e-3)},
    "batch size": {"batch_size": 7},
    "metrics": {"metrics": ["mae"]},
    "order": {"shuffle": False},
    "grouping": {"group_by_length": True},
    "reduction": {"reduction": "sum"},
    "clipping": {"clip_norm": 1.0},
    "patience": {"patience": 3},
    "seed": {"seed": 2},
    "no seed": {"seed": None},
}


@pytest.mark.parametrize("changes", OTHER_RUNS.values(), ids=OTHER_RUNS)
def test_the_checkpoint_of_another_run_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    checkpoint = tmp_path / "c"
    run(checkpoint, 1)
    content = checkpoint.read_bytes()
    message = "belongs to a run with other data, another model or other settings. Use what that run used, or start"
    with pytest.raises(ValueError, match=message):
        run(checkpoint, 2, **changes)
    assert checkpoint.read_bytes() == content
    assert (
        run(checkpoint, 2, callbacks=[print], progress=False, checkpoint_every=2)[1].epochs == 2
    )  # these may vary


def test_other_validation_data_is_refused(tmp_path: Path) -> None:
    x, y = data(5, seed=1)
    run(tmp_path / "c", 1, validation_data=(x, y))
    with pytest.raises(ValueError, match="belongs to a run with other data"):
        run(tmp_path / "c", 2, validation_data=(x, y + 1e-3))
    assert run(tmp_path / "c", 2, validation_data=(x, y))[1].epochs == 2


# --------------------------------------------------------------------------------------------- damaged and foreign


def test_a_checkpoint_cut_short_anywhere_is_an_error_with_its_name(tmp_path: Path) -> None:
    checkpoint = tmp_path / "c"
    run(checkpoint, 1)
    content = checkpoint.read_bytes()
    rng = np.random.default_rng(0)
    for end in {0, 1, 7, 8, 9, len(content) - 1, *rng.integers(0, len(content), 60).tolist()}:
        checkpoint.write_bytes(content[:end])
        with pytest.raises(ValueError, match=r"c' is not a checkpoint of grus, or it is damaged or cut short \("):
            run(checkpoint, 2)
    checkpoint.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match="damaged or cut short"):
        run(checkpoint, 2)


def test_a_byte_that_changed_anywhere_is_an_error_with_the_name(tmp_path: Path) -> None:
    """In the header or in the numbers: nothing goes on from a file that is not what was written."""
    checkpoint = tmp_path / "c"
    run(checkpoint, 1)
    content, rng = checkpoint.read_bytes(), np.random.default_rng(0)
    header = 8 + int.from_bytes(content[:8], "little")
    for position in (*range(0, header, 9), *rng.integers(header, len(content), 60).tolist()):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(0, 8))
        checkpoint.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"c' (is|has|was) .*(damaged|not a checkpoint|newer)"):
            run(checkpoint, 2)


def rewritten(checkpoint: Path, **changes: Any) -> None:
    """Change the text in a checkpoint."""
    arrays, metadata = read_tensors(checkpoint, "checkpoint")
    text = json.loads(metadata["grus_checkpoint"]) | changes
    safetensors.numpy.save_file(arrays, checkpoint, {"grus_checkpoint": json.dumps(text)})


def test_other_files_in_the_place_of_a_checkpoint(tmp_path: Path) -> None:
    checkpoint = tmp_path / "c"
    run(checkpoint, 1)
    rewritten(checkpoint, format=2)
    with pytest.raises(ValueError, match=r"c' was written by a newer grus\. Update grus, or start anew"):
        run(checkpoint, 2)
    rewritten(checkpoint, format=1, epoch=2)
    with pytest.raises(ValueError, match=r"c' is damaged: it does not hold what was written"):
        run(checkpoint, 2)
    safetensors.numpy.save_file({"flat": np.ones(3)}, checkpoint)
    with pytest.raises(ValueError, match=r"c' is a safetensors file, but not a checkpoint of grus"):
        run(checkpoint, 2)
    safetensors.numpy.save_file({"flat": np.ones(3)}, checkpoint, {"grus_checkpoint": "{"})
    with pytest.raises(ValueError, match=r"c' has a damaged header: JSONDecodeError"):
        run(checkpoint, 2)
    checkpoint.unlink()
    checkpoint.mkdir()
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint at .*c'"):
        run(checkpoint, 2)


# --------------------------------------------------------------------------------------------------------- writing


def test_nothing_else_is_left_in_the_folder(tmp_path: Path) -> None:
    run(tmp_path / "c", 3)
    run(tmp_path / "c", 5)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_a_write_that_fails_keeps_the_old_file(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space left on device"):
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_checkpoint_that_cannot_be_written_ends_the_run_with_its_best_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    x, y = data()
    model = nn.Sequential([nn.GRU(3), nn.Dense(1)], seed=0)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        model.fit(x, y, loss="mse", epochs=3, checkpoint=tmp_path / "c", seed=0)
    assert (model.history.epochs, model.history.stopped) == (1, "error")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_looked_for_before_training(tmp_path: Path) -> None:
    told: list[int] = []
    with pytest.raises(FileNotFoundError, match=r"the folder .*missing' does not exist; make it, or name another"):
        run(tmp_path / "missing" / "c", callbacks=[lambda *_: told.append(1)])
    assert told == []


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has a umask")
@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077, 0o002])
def test_permissions_are_those_of_an_ordinary_file(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "ours", b"content")
        (tmp_path / "ordinary").write_bytes(b"content")
        assert os.umask(mask) == mask  # left as it was
    finally:
        os.umask(before)
    ours, ordinary = (stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "ordinary"))
    assert ours == ordinary == 0o666 & ~mask


def test_a_relative_path_is_written_where_the_process_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_atomically("file", b"1")
    assert (tmp_path / "file").read_bytes() == b"1"
