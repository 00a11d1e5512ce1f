"""A whole training: ``grus train japanese-vowels`` beside the same in PyTorch, data loading left out.

``python -m benchmarks.japanese_vowels LIBRARY THREADS EPOCHS`` prints seconds and test accuracy as JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import grus
from benchmarks.processes import run_module
from benchmarks.settings import Settings
from benchmarks.timing import in_turn

SEED = 0


def measure(settings: Settings) -> dict[str, Any]:
    """Library -> threads -> median seconds, and the accuracy."""
    settings.tell("japanese-vowels")
    epochs = 2 if settings.quick else grus.GRUClassifier().epochs
    installed = [library.name for library in settings.libraries if library.name in ("grus", "torch")]
    turns = {
        (name, threads): partial(run_module, "japanese_vowels", name, threads, epochs)
        for name in installed
        for threads in settings.threads
    }
    results: dict[str, Any] = {"epochs": epochs}
    for (name, threads), runs in in_turn(turns, 0, min(3, settings.rounds)).items():
        of_library = results.setdefault(name, {"accuracy": runs[0]["accuracy"], "seconds": {}})
        of_library["seconds"][str(threads)] = statistics.median(run["seconds"] for run in runs)
    return results


def train(library: str, threads: int, epochs: int) -> dict[str, float]:
    """One epoch to warm up, then the training that is timed."""
    train, test = grus.datasets.load_japanese_vowels()
    fit, accuracy = _with_torch(threads) if library == "torch" else _with_grus(threads)
    fit(train, 1)
    start = time.perf_counter()
    trained = fit(train, epochs)
    return {"seconds": time.perf_counter() - start, "accuracy": accuracy(trained, test)}


def _with_grus(threads: int) -> tuple[Callable[..., Any], Callable[..., float]]:
    grus.set_num_threads(threads)

    def fit(data: grus.datasets.Sequences, epochs: int) -> Any:
        return grus.GRUClassifier(random_state=SEED, epochs=epochs).fit(data.x, data.y)

    return fit, lambda trained, test: float(trained.score(test.x, test.y))


def _with_torch(threads: int) -> tuple[Callable[..., Any], Callable[..., float]]:
    import torch

    from benchmarks.japanese_vowels_torch import Trained

    torch.set_num_threads(threads)
    settings = grus.GRUClassifier(random_state=SEED)
    return lambda data, epochs: Trained(settings, data, epochs), Trained.accuracy


if __name__ == "__main__":
    print(json.dumps(train(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
