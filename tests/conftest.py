"""Settings that every test shares."""

import importlib.util
import os
import re
from pathlib import Path

import hypothesis
import pytest

# Libraries that grus converts to and from and that no extra of ours installs. Where they are missing their tests
# skip; with GRUS_REQUIRE_INTEROP=1 (the continuous integration, after installing them) such a skip is a failure.
INTEROP = ("torch", "keras", "jax", "flax", "equinox", "haiku")
_IMPORTED = re.compile(rf"""importorskip\(\s*["']({"|".join(INTEROP)})\b""")
_NAMED = re.compile(rf"\b({'|'.join(INTEROP)})\b")

# Keras takes TensorFlow unless it is told otherwise.
os.environ.setdefault("KERAS_BACKEND", "torch" if importlib.util.find_spec("torch") else "jax")

# A slow machine is not a failure. The parent is hypothesis' own choice, which is repeatable under CI.
hypothesis.settings.register_profile("grus", parent=hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("grus")


def pytest_collection_modifyitems(items):
    """Mark ``interop`` what stands in a file that skips without such a library: ``pytest -m interop``."""
    files = {}
    for item in items:
        if item.path not in files:
            files[item.path] = bool(_IMPORTED.search(Path(item.path).read_text(encoding="utf-8")))
        if files[item.path]:
            item.add_marker(pytest.mark.interop)


def _fail_if_required(report):
    """Turn a skip whose reason names an interop library into a failure, when they are required."""
    if os.environ.get("GRUS_REQUIRE_INTEROP") != "1" or not report.skipped or hasattr(report, "wasxfail"):
        return
    _, _, reason = report.longrepr
    if _NAMED.search(reason):
        report.outcome = "failed"
        report.longrepr = f"GRUS_REQUIRE_INTEROP=1, but {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    _fail_if_required(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    report = yield
    _fail_if_required(report)
    return report
