"""Every chore in one command, each in its own environment: ``nox`` for all, ``nox -s lint`` for one."""

import os
from pathlib import Path

import nox

LINT = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "lint")


@nox.session
def lint(session: nox.Session) -> None:
    """Format and lint Python, C++ and prose."""
    session.install(*LINT)
    session.run("pre-commit", "run", "--all-files", "--show-diff-on-failure")


@nox.session
def types(session: nox.Session) -> None:
    """Check the annotations."""
    session.install(".[app]", *LINT)
    session.run("mypy", "--strict", "src")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; arguments after ``--`` go to pytest."""
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the pages, warnings being errors."""
    session.install(".[docs,app,onnx]")
    session.run("sphinx-build", "-W", "-b", "html", "docs", "docs/_build/html")


@nox.session
def examples(session: nox.Session) -> None:
    """Run every example in its short form."""
    session.install(".[app,onnx]")
    scripts = sorted(Path("examples").resolve().glob("*.py"))
    session.chdir(session.create_tmp())
    for script in scripts:
        session.run("python", str(script), "--quick", env=os.environ | {"MPLBACKEND": "Agg"})


@nox.session
def build(session: nox.Session) -> None:
    """Build the source archive and from it the wheel, then test the wheel."""
    session.install("build")
    folder = Path(session.create_tmp()).resolve()
    session.run("python", "-m", "build", "--outdir", str(folder))
    session.install(f"grus[test] @ {max(folder.glob('*.whl'), key=os.path.getmtime).as_uri()}")
    session.run("pytest")
