"""What ``import grus`` loads: the layer and its engines, and nothing that only some users need."""

import subprocess
import sys

import pytest

import grus

# Of ours, what stands beside the layer; of Python's, what takes long; and every library but NumPy.
NOT_LOADED = """
grus.cli grus.datasets grus.estimators grus.io grus.nn grus.report
difflib email hashlib importlib.metadata importlib.resources json pathlib tempfile zipfile
aeon jax matplotlib onnx pandas pyarrow rich safetensors scipy sklearn torch typer
""".split()


def in_a_fresh_interpreter(code):
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def test_import_loads_only_the_layer():
    before = in_a_fresh_interpreter("import sys, numpy; print(*sys.modules)")
    after = in_a_fresh_interpreter("import sys, grus; print(*sys.modules)")
    assert not set(NOT_LOADED) & (set(after) - set(before))


@pytest.mark.parametrize(
    "name", ["datasets", "io", "nn", "report", "load", "save", "GRUClassifier", "__version__"]
)
def test_a_name_that_loads_more_works_first_thing(name):
    in_a_fresh_interpreter(f"import grus; grus.{name}; from grus import {name}; assert grus.{name} == {name}")


def test_the_names_are_listed_before_they_are_used():
    listed = in_a_fresh_interpreter("import grus; print(*dir(grus))")
    assert set(grus.__all__) <= set(listed)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'grus' has no attribute 'GRUS'"):
        grus.GRUS  # noqa: B018
