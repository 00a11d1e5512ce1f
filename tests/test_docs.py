"""Every public name has its place in the reference page."""

import importlib
import re
from pathlib import Path

import pytest

import grus
import grus.conversion

CONVERTERS = ("flax", "jax")
API = Path(__file__).parents[1] / "docs" / "api.md"


def listed_names():
    """The names that the page's autosummary directives list, one a line."""
    return set(re.findall(r"^   ([\w.]+)$", API.read_text(encoding="utf-8"), flags=re.MULTILINE))


def public_names():
    """Those of grus, and of its modules that are lists of names themselves."""
    modules = ("datasets", "nn", "report", *CONVERTERS)
    for converter in CONVERTERS:  # imported on request only
        importlib.import_module(f"grus.{converter}")
    names = {name for name in grus.__all__ if name not in modules}
    return names | {f"{module}.{name}" for module in modules for name in getattr(grus, module).__all__}


@pytest.mark.parametrize("name", sorted(public_names()))
def test_a_public_name_is_in_the_reference(name):
    assert name in listed_names(), f"add {name} to docs/api.md"


def converters():
    """``torch.to_torch`` ...: of the modules that are imported on request, read and not imported."""
    found = set()
    for path in Path(grus.__file__).parent.glob("*.py"):
        verbs = rf"^def ((?:to|from)_{path.stem}\w*)\("
        names = re.findall(verbs, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        found |= {f"{path.stem}.{name}" for name in names}
    return found


@pytest.mark.parametrize("name", sorted(converters()))
def test_a_converter_is_in_the_reference(name):
    assert name in listed_names(), f"add {name} to docs/api.md"


def test_the_reference_lists_nothing_else():
    shared = set(grus.conversion.__all__) - {"CONVENTIONS", "Convention"}
    conversion = {f"conversion.{name}" for name in shared}
    assert listed_names() - public_names() - converters() == {"io.inspect", *conversion}
