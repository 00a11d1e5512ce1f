"""Sphinx: MyST for the pages, MyST-NB runs their code, numpydoc reads the docstrings."""

from importlib.metadata import version as installed_version

project = "grus"
author = "grus developers"
project_copyright = "grus developers"
release = version = installed_version("grus")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.mathjax", "numpydoc"]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 120

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings give types together with shapes
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"grus {version}"


def without_routing(app, what, name, obj, skip, options):  # the arguments are Sphinx's
    """Leave out the methods that scikit-learn adds to an estimator: their text refers to its own pages."""
    return True if name.startswith("set_") and name.endswith("_request") else None


def setup(app):
    app.connect("autodoc-skip-member", without_routing)
