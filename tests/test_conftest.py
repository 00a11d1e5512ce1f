"""What conftest.py promises about the interop libraries."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Importing a module that is None in sys.modules fails as if it were not installed.
WITHOUT_TORCH = "import sys\nimport pytest\nsys.modules['torch'] = None\n"
IN_THE_TEST = WITHOUT_TORCH + "def test_it():\n    pytest.importorskip('torch')\n"
IN_THE_MODULE = WITHOUT_TORCH + "pytest.importorskip('torch')\ndef test_it():\n    pass\n"
WITH_A_REASON = WITHOUT_TORCH + "pytest.importorskip('torch', reason='no torch')\ndef test_it():\n    pass\n"
UNRELATED = "import pytest\ndef test_it():\n    pytest.skip('no such file system')\n"


def outcome(folder, source, *options, required):
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "test_it.py").write_text(source)
    environment = os.environ | {"GRUS_REQUIRE_INTEROP": str(int(required))}
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "-p", "no:cacheprovider", *options, "."]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return result.stdout.splitlines()[-1]


@pytest.mark.parametrize("source", [IN_THE_TEST, IN_THE_MODULE, WITH_A_REASON])
def test_a_missing_library_skips_unless_required(tmp_path, source):
    assert "1 skipped" in outcome(tmp_path, source, required=False)
    assert "1 skipped" not in (line := outcome(tmp_path, source, required=True))
    assert "1 failed" in line or "1 error" in line


def test_other_skips_stay_skips(tmp_path):
    assert "1 skipped" in outcome(tmp_path, UNRELATED, required=True)


def test_the_marker_selects_the_files_that_need_a_library(tmp_path):
    assert "1 skipped" in outcome(tmp_path, IN_THE_TEST, "-m", "interop", required=False)
    assert "1 deselected" in outcome(tmp_path, UNRELATED, "-m", "interop", required=False)
