"""The templates for users' CI: valid, and their commands run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

ROOT = Path(__file__).parent.parent
CI = ROOT / "deploy" / "ci"


def test_templates_call_the_script_with_what_it_takes() -> None:
    github = yaml.safe_load((CI / "github.yml").read_text())
    job = github["jobs"]["gate"]
    assert {"MODEL", "DATASET"} == {*job["env"]}
    assert all({"run", "uses"} & {*step} for step in job["steps"])
    gitlab = yaml.safe_load((CI / "gitlab.yml").read_text())["model"]
    assert {"GIT_DEPTH", "MODEL", "DATASET"} == {*gitlab["variables"]}
    commands = [step.get("run", "") for step in job["steps"]] + gitlab["script"]
    assert sum('gate.sh "$MODEL" "' in command for command in commands) == 2
    assert commands.count("pip install edgegolf") == 2


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A user's repository whose last commit is the baseline."""
    shutil.copy(ROOT / "models/mnist/linear/int8-weights.tflite", tmp_path / "mine.tflite")
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "a")):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    binaries = tmp_path / "bin"
    binaries.mkdir()
    starter = binaries / "edgegolf"
    starter.write_text(f'#!/bin/sh\nexec {sys.executable} -m edgegolf "$@"\n')
    starter.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(("file", "status"), [("int8.onnx", 2), ("int8.tflite", 0), ("", 1)])
def test_the_script_gates(repository: Path, file: str, status: int) -> None:
    """What is no .tflite file breaks, what is smaller passes, what is larger fails."""
    name = file or "float32.tflite"
    shutil.copy(ROOT / "models/mnist/linear" / name, repository / "mine.tflite")
    done = subprocess.run(
        ["bash", CI / "gate.sh", "mine.tflite", "HEAD"],
        cwd=repository,
        env={
            **os.environ, "PYTHONPATH": str(ROOT), "WITHOUT_ARM": "1",
            "PATH": f"{repository / 'bin'}{os.pathsep}{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    if status < 2:
        summary = (repository / "summary.md").read_text()
        assert "before/mine.tflite → mine.tflite" in summary
        assert "| total |" in summary
        suite = ElementTree.parse(repository / "junit.xml").getroot()
        assert suite.get("failures") == str(status)
        assert "p50" not in " ".join(each.get("message", "") for each in suite.iter("failure"))
