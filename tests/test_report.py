"""The learning curve: what is drawn, what it is called, and how it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from grus.nn import History
from grus.report import plot_history

HISTORY = {"loss": [0.9, 0.5, 0.4], "accuracy": [0.3, 0.6, 0.7], "val_loss": [1.0, 0.6, 0.7], "seconds": [1, 1, 1]}


def test_panels_lines_and_labels() -> None:
    figure = plot_history(HISTORY, title="a run", best_epoch=2, final={"accuracy": 0.65})
    loss, accuracy = figure.axes
    assert figure.get_suptitle() == "a run"
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch", "epoch"]
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss (dimensionless)", "accuracy (share of sequences)")
    drawn = {line.get_label(): list(line.get_ydata()) for line in loss.lines}
    assert drawn["training"] == HISTORY["loss"]
    assert drawn["validation"] == HISTORY["val_loss"]
    assert "best epoch 2" in drawn
    assert {line.get_label() for line in accuracy.lines} == {"training", "test 0.65", "best epoch 2"}


def test_a_loss_that_falls_far_is_drawn_on_a_logarithmic_scale() -> None:
    scales = [plot_history({"loss": loss}).axes[0].get_yscale() for loss in ([1.0, 0.001], [1.0, 0.5], [1.0, 0.0])]
    assert scales == ["log", "linear", "linear"]


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_ending_says_the_format(suffix: str, magic: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"curve.{suffix}"
    plot_history(History(HISTORY), path)
    assert path.read_bytes().startswith(magic)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_what_can_not_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"history must hold at least one epoch; got none\."):
        plot_history(History())
    with pytest.raises(ValueError, match="xyz"):
        plot_history(HISTORY, tmp_path / "curve.xyz")
    assert list(tmp_path.iterdir()) == []
