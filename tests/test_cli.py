"""The command line, as a person runs it: in processes of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import grus

COMMAND = (sys.executable, "-m", "grus.cli")
SMALL = ("--epochs", "3", "--hidden", "8")


def run(folder: Path, *arguments: str, code: int = 0) -> str:
    """The command's output, both streams; colours and line breaks do not depend on the terminal."""
    environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    output = done.stdout + done.stderr
    assert done.returncode == code, output
    return re.sub(r"\x1b\[[0-9;]*m", "", output)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which Japanese Vowels were trained on for a moment."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "output.txt").write_text(run(folder, "train", "japanese-vowels", *SMALL))
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sequences in a csv file: is the mean of a above 0?"""
    rng, rows = np.random.default_rng(0), []
    for i in range(40):
        a = rng.standard_normal(rng.integers(3, 8)) + (1 if i % 2 else -1)
        rows += [{"run": f"r{i:02}", "t": t, "a": v, "b": rng.random(), "fault": "yes" if i % 2 else "no",
                  "level": a.mean()} for t, v in enumerate(a)]  # fmt: skip
    path = tmp_path_factory.mktemp("table") / "runs.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


CLASSES = ("--id", "run", "--time", "t", "--target", "fault", "--features", "a,b")


def test_train_shows_progress_and_writes_model_metrics_and_picture(trained: Path) -> None:
    output = (trained / "output.txt").read_text()
    assert "270 sequences" in output
    assert re.search(r"epoch 3/3 +loss [\d.]+ .*sequences/s +0 s left", output)
    assert re.search(r"test accuracy 0\.\d{4} on 370 sequences", output)
    assert (trained / "japanese-vowels.png").read_bytes().startswith(b"\x89PNG")
    metrics = json.loads((trained / "japanese-vowels.metrics.json").read_text())
    assert metrics["test"]["sequences"] == 370
    assert len(metrics["test"]["classes"]) == 9
    assert np.sum(metrics["test"]["confusion_matrix"]) == 370
    assert len(metrics["history"]["loss"]) == 3
    assert f"{metrics['test']['accuracy']:.4f}" in output


def test_the_saved_model_scores_what_was_printed(trained: Path) -> None:
    model = grus.load(trained / "japanese-vowels.safetensors")
    _, test = grus.datasets.load_japanese_vowels()
    metrics = json.loads((trained / "japanese-vowels.metrics.json").read_text())
    assert model.score(test.x, test.y) == metrics["test"]["accuracy"]
    output = run(trained, "evaluate", "japanese-vowels.safetensors", "japanese-vowels", "--metrics", "again.json")
    assert f"accuracy {metrics['test']['accuracy']:.4f}" in output
    assert json.loads((trained / "again.json").read_text()) == metrics["test"]


def test_an_existing_model_is_not_replaced_unasked(trained: Path) -> None:
    before = (trained / "japanese-vowels.safetensors").read_bytes()
    output = run(trained, "train", "japanese-vowels", *SMALL, "--quiet", code=1)
    assert (
        "'japanese-vowels.safetensors' exists. Name another file with --out, or replace it with --force." in output
    )
    assert (trained / "japanese-vowels.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", ["m.png", "m.metrics.json"])
def test_what_stands_beside_a_model_is_not_replaced_unasked_either(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    output = run(tmp_path, "train", "japanese-vowels", *SMALL, "--quiet", "--out", "m.safetensors", code=1)
    assert f"'{name}' exists. Name another file with --out, or replace it with --force." in output
    assert (tmp_path / name).read_text() == "mine"
    assert not (tmp_path / "m.safetensors").exists()


def test_the_same_seed_trains_the_same_model(trained: Path, tmp_path: Path) -> None:
    run(tmp_path, "train", "japanese-vowels", *SMALL, "--out", "again.safetensors", "--quiet")
    first, again = (
        grus.load(path) for path in (trained / "japanese-vowels.safetensors", tmp_path / "again.safetensors")
    )
    np.testing.assert_array_equal(first.model_.flat, again.model_.flat)


def test_a_table_from_training_to_predictions(table: Path, tmp_path: Path) -> None:
    output = run(
        tmp_path, "train", str(table), *CLASSES, "--epochs", "20", "--out", "m.safetensors", "--test", str(table)
    )
    assert float(re.search(r"test accuracy ([\d.]+) on 40", output)[1]) > 0.9
    for name in ("p.csv", "p.parquet"):
        run(tmp_path, "predict", "m.safetensors", str(table), "--out", name)
        read = pd.read_csv if name.endswith("csv") else pd.read_parquet
        predictions = read(tmp_path / name)
        assert list(predictions.columns) == ["id", "prediction", "probability_no", "probability_yes"]
        assert list(predictions["id"]) == [f"r{i:02}" for i in range(40)]
        np.testing.assert_allclose(predictions[["probability_no", "probability_yes"]].sum(axis=1), 1, rtol=1e-5)
    assert (predictions["prediction"] == ["no", "yes"] * 20).mean() > 0.9
    output = run(tmp_path, "predict", "m.safetensors", str(table), "--out", "p.csv", code=1)
    assert "'p.csv' exists." in output


def test_regression(table: Path, tmp_path: Path) -> None:
    columns = ("--id", "run", "--time", "t", "--target", "level", "--features", "a,b")
    output = run(tmp_path, "train", str(table), *columns, "--epochs", "40", "--out", "m.st", "--quiet")
    assert float(re.search(r"training r2 ([-\d.]+) on 40", output)[1]) > 0.5
    run(tmp_path, "predict", "m.st", str(table))
    assert list(pd.read_csv(tmp_path / "predictions.csv").columns) == ["id", "prediction"]


def test_the_string_task(tmp_path: Path) -> None:
    output = run(tmp_path, "train", "dummy-strings", *SMALL, "--quiet")
    assert re.search(r"test accuracy [\d.]+ on 160 sequences", output)


def test_info(trained: Path) -> None:
    output = run(trained, "info", "japanese-vowels.safetensors")
    for word in (
        "engine",
        grus.engine_name(),
        "instruction sets",
        "GRUClassifier",
        "japanese-vowels",
        grus.__version__,
    ):
        assert word in output


def test_help_teaches() -> None:
    assert "grus train japanese-vowels" in run(Path.cwd(), "--help")
    for command in ("train", "evaluate", "predict", "info"):
        assert f"Example: grus {command}" in run(Path.cwd(), command, "--help")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "japanese-vowel"), "there is no data 'japanese-vowel': name a file or one of japanese-vowels"),
        (("train", "japanese-vowel"), "Did you mean 'japanese-vowels'?"),
        (("train", "nothing.csv", "--id", "run"), "nothing.csv"),
        (("train", "{table}"), "say which column names the sequence, with --id"),
        (
            ("train", "{table}", "--id", "run", "--features", "a"),
            "has no targets to learn. Name their column with --target.",
        ),
        (("train", "{table}", "--id", "rum", "--target", "fault"), "'rum'"),
        (
            ("train", "{table}", *CLASSES, "--task", "cluster"),
            "--task must be one of classify, regress; got 'cluster'",
        ),
        (("train", "{table}", *CLASSES, "--epochs", "0"), "epochs"),
        (("train", "{table}", *CLASSES, "--out", "no/m.st"), "the folder 'no' does not exist"),
        (("evaluate", "nothing.st", "japanese-vowels"), "there is no model file at 'nothing.st'"),
        (("evaluate", "{table}", "japanese-vowels"), "is not a model file of grus, or it is damaged or cut short"),
        (("predict", "m.st", "japanese-vowels", "--out", "p.txt"), "must be one of .csv, .parquet; got '.txt'"),
    ],
)
def test_errors_are_one_clear_line(arguments: tuple[str, ...], message: str, table: Path, tmp_path: Path) -> None:
    output = run(tmp_path, *(a.replace("{table}", str(table)) for a in arguments), code=1)
    assert message in output
    assert "Traceback" not in output
    assert not any(path.suffix in (".st", ".safetensors") for path in tmp_path.iterdir())


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A training run in the background; Ctrl-C reaches it even if this process was started to ignore it."""
    return subprocess.Popen(
        [*COMMAND, "train", "japanese-vowels", "--hidden", "8", *arguments],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finished(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=120)
    return process.returncode


def wait_for(path: Path, seconds: float = 60) -> None:
    for _ in range(int(seconds / 0.05)):
        if path.exists():
            return
        time.sleep(0.05)
    raise TimeoutError(f"{path} did not appear in {seconds} s")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_keeps_the_best_model_so_far(tmp_path: Path) -> None:
    process = start(tmp_path, "--epochs", "100000")
    wait_for(tmp_path / "japanese-vowels.checkpoint")
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Interrupted: the best model so far, of epoch" in output
    metrics: dict[str, Any] = json.loads((tmp_path / "japanese-vowels.metrics.json").read_text())
    assert metrics["interrupted"] is True
    _, test = grus.datasets.load_japanese_vowels()
    assert grus.load(tmp_path / "japanese-vowels.safetensors").score(test.x, test.y) == metrics["test"]["accuracy"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_killed_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    arguments = ("--epochs", "12", "--quiet")
    assert finished(start(whole, *arguments)) == 0
    process = start(killed, *arguments)
    wait_for(killed / "japanese-vowels.checkpoint")
    process.kill()
    assert finished(process) == -signal.SIGKILL
    assert not (killed / "japanese-vowels.safetensors").exists()
    assert finished(start(killed, *arguments, "--resume")) == 0
    models = [grus.load(folder / "japanese-vowels.safetensors") for folder in (whole, killed)]
    np.testing.assert_array_equal(models[0].model_.flat, models[1].model_.flat)
