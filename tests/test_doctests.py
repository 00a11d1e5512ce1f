"""The examples in the docstrings, run on grus as it is installed."""

import doctest
import importlib
import pkgutil

import pytest

import grus
from conftest import INTEROP

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

ALSO = {"jax": ("jax", "equinox", "haiku")}  # what the examples of a module take beside the library in its name


def library_of(module):
    """``"grus.torch"`` -> ``"torch"``, the library it cannot be imported without; None for the others."""
    name = module.removeprefix("grus.")
    return name if name in INTEROP else None


def modules():
    names = ["grus", *(found.name for found in pkgutil.walk_packages(grus.__path__, "grus."))]
    return [pytest.param(name, marks=[pytest.mark.interop] if library_of(name) else []) for name in names]


@pytest.mark.parametrize("name", modules())
def test_docstring_examples(name):
    if library := library_of(name):
        for each in ALSO.get(library, (library,)):
            pytest.importorskip(each)
    results = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert results.failed == 0
