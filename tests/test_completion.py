"""Completion, as shells ask for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgegolf.cli import cli
from edgegolf.completion import FISH, install_completion
from edgegolf.errors import EdgegolfError


def test_nets_files_and_verbs_complete(tmp_path: Path) -> None:
    script = "import sys; sys.argv = ['edgegolf']; from edgegolf.cli import main; main()"
    for words, found in {
        "edgegolf be": ["plain,bench"],
        "edgegolf train tight_": ["plain,tight_resnet", "plain,tight_resnet_unshared"],
        "edgegolf bench cnn:": ["plain,cnn:2", "file,cnn:"],
        "edgegolf export mo": ["file,mo"],
    }.items():
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env={
                **os.environ, "_EDGEGOLF_COMPLETE": "bash_complete", "COMP_WORDS": words,
                "COMP_CWORD": str(len(words.split()) - 1),
            },
            capture_output=True,
            text=True,
        )  # fmt: skip
        assert set(found) <= {*done.stdout.split()}, words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_installing_twice_is_installing_once(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", f"/bin/{shell}")
    (tmp_path / f".{shell}rc").write_text("alias a=b")
    for _ in range(2):
        told = install_completion(cli, tmp_path)
    script = Path(told.partition(" is there")[0])
    assert "edgegolf" in script.read_text()
    startup = (tmp_path / f".{shell}rc").read_text()
    assert startup.splitlines()[0] == "alias a=b"
    assert startup.count(str(script)) == (0 if shell == "fish" else 1)
    assert (script == tmp_path / FISH) == (shell == "fish")
    if shutil.which(shell):
        subprocess.run([shell, "-n", script], check=True)


def test_another_shell_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    with pytest.raises(EdgegolfError, match="tcsh"):
        install_completion(cli, tmp_path)
