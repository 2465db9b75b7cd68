"""The library's page, which is run as it stands, and what it promises."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgegolf import anatomy, api, golf

ROOT = Path(__file__).parent.parent
LINEAR = ROOT / "models" / "mnist" / "linear"


def test_the_page_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "api.md"
    text = "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S))
    test = doctest.DocTestParser().get_doctest(text, {}, "api", str(page), 0)
    assert doctest.DocTestRunner().run(test).failed == 0


def test_functions_keep_their_names_when_their_packages_are_imported() -> None:
    script = (
        "import edgegolf.bench.gate, edgegolf.golf.golf, edgegolf.anatomy.anatomy\n"
        "import edgegolf.compare.compare, edgegolf.export.publish\n"
        "import edgegolf\n"
        "print([callable(getattr(edgegolf, name)) for name in edgegolf.api.__all__])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == f"{[True] * 5}\n", done.stderr


def test_text_and_paths_give_the_same(tmp_path: Path) -> None:
    file = LINEAR / "int8.tflite"
    assert anatomy(str(file)) == anatomy(file)
    (tmp_path / "a.tflite").write_bytes((LINEAR / "float32.tflite").read_bytes())
    golfed = golf(str(tmp_path / "a.tflite"))
    assert golfed.destination == str(tmp_path / "a.golfed.tflite")


def test_everything_is_documented() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    assert all(f"**{name}**" in page for name in api.__all__)
