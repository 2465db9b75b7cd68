"""The agent's requests, on a folder here."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from edgegolf.bench import board
from edgegolf.deploy import agent
from edgegolf.deploy.connection import agent_program

ID = "ab" * 32
OTHER = "cd" * 32


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    agent.stage({"contents": []}, str(tmp_path))
    return str(tmp_path)


def put(root: str, data: bytes) -> str:
    Path(root, "objects", sha256(data)).write_bytes(data)
    return sha256(data)


def receive(root: str, monkeypatch: pytest.MonkeyPatch, sent: bytes, *contents: object) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(sent)))
    agent.receive({"contents": contents}, root)


def environment(root: str, name: str) -> str:
    folder = Path(root, "environments", name)
    folder.mkdir()
    (folder / "complete.json").write_text('{"contents": []}')
    return name


def release(root: str, data: bytes) -> str:
    """Deploy a tree of one file; returns the tree's identifier."""
    tree = sha256(b"tree of " + data)
    agent.build_tree({"tree": tree, "files": [["net/a.tflite", put(root, data)]]}, root)
    manifest = {"models": data.decode()}
    agent.release({"environment": ID, "models": tree, "manifest": manifest}, root)
    return tree


def test_the_command_finds_its_environment(tmp_path: Path) -> None:
    """Through links, and after the environment got its name."""
    bin_folder = tmp_path / "new.partial" / "bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "python").write_text('#!/bin/sh\necho "$@"\n')
    (bin_folder / "python").chmod(0o755)
    agent._write_command(str(bin_folder / "edgegolf"))
    (tmp_path / "new.partial").rename(tmp_path / "named")
    (tmp_path / "current").symlink_to("named")
    (tmp_path / "edgegolf").symlink_to(tmp_path / "current" / "bin" / "edgegolf")
    said = subprocess.run(
        [tmp_path / "edgegolf", "classify", "a b.png"], capture_output=True, text=True, check=True
    ).stdout
    assert said == "-m edgegolf classify a b.png\n"


def test_contents_come_in_parts(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(300_000)
    name, size = sha256(data), len(data)
    with pytest.raises(agent.RefusedError, match="lost"):
        receive(root, monkeypatch, data[:100_000], (name, size, 0))
    assert agent.stage({"contents": [(name, size)]}, root) == {"present": [100_000]}
    with pytest.raises(agent.RefusedError, match="somebody else"):
        receive(root, monkeypatch, data[50_000:], (name, size, 50_000))
    receive(root, monkeypatch, data[100_000:], (name, size, 100_000))
    assert agent.stage({"contents": [(name, size)]}, root) == {"present": [size]}
    assert Path(root, "objects", name).read_bytes() == data


def test_damaged_contents_are_thrown_away(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"good" * 1000
    name, size = sha256(data), len(data)
    with pytest.raises(agent.RefusedError, match="damaged"):
        receive(root, monkeypatch, b"evil" * 1000, (name, size, 0))
    assert agent.stage({"contents": [(name, size)]}, root) == {"present": [0]}
    Path(root, "objects", name).write_bytes(b"x" * size)  # a failing card
    assert agent.stage({"contents": [(name, size)]}, root) == {"present": [0]}
    assert not os.listdir(os.path.join(root, "objects"))


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../outside", ".", "a/.."])
def test_trees_stay_in_their_folder(root: str, name: str) -> None:
    content = put(root, b"x")
    with pytest.raises(agent.RefusedError, match="outside"):
        agent.build_tree({"tree": ID, "files": [[name, content]]}, root)
    assert os.listdir(os.path.join(root, "trees")) == []


@pytest.mark.parametrize("name", ["..", "../../etc", "", "AB" * 32, "ab" * 31, ID + "\n"])
def test_identifiers_are_hashes(root: str, name: str) -> None:
    for request in (
        lambda: agent.stage({"contents": [(name, 1)]}, root),
        lambda: agent.build_tree({"tree": name, "files": []}, root),
        lambda: agent.find_environment({"environment": name}, root),
        lambda: agent.forget_results({"command": name}, root),
    ):
        with pytest.raises(agent.RefusedError, match="no SHA-256"):
            request()


def test_damaged_trees_are_mended(root: str) -> None:
    request = {"tree": ID, "files": [["net/a.tflite", put(root, b"good")]]}
    agent.build_tree(request, root)
    path = Path(root, "trees", ID, "net/a.tflite")
    path.write_bytes(b"evil")  # the content is the same file, so it is damaged too
    assert agent.stage({"contents": [(sha256(b"good"), 4)]}, root) == {"present": [0]}
    put(root, b"good")
    agent.build_tree(request, root)
    assert path.read_bytes() == b"good"


def test_releases_are_counted_switched_and_tidied(root: str) -> None:
    environment(root, ID)
    environment(root, OTHER)
    trees = [release(root, data) for data in (b"first", b"second", b"third")]
    assert os.readlink(os.path.join(root, "current")) == "releases/3"
    assert not os.path.exists(os.path.join(root, "environments", OTHER))
    agent.rollback({}, root)
    agent.rollback({}, root)
    found = agent.status({}, root)
    assert (found["current"], [item["models"] for item in found["releases"]]) == (
        1, ["first", "second", "third"]
    )  # fmt: skip
    with pytest.raises(agent.RefusedError, match="no earlier"):
        agent.rollback({}, root)
    release(root, b"fourth")
    found = agent.status({}, root)
    assert (found["current"], [item["release"] for item in found["releases"]]) == (4, [2, 3, 4])
    assert set(os.listdir(os.path.join(root, "trees"))) == {
        *trees[1:], sha256(b"tree of fourth")
    }  # fmt: skip
    assert sha256(b"first") not in os.listdir(os.path.join(root, "objects"))
    assert sha256(b"second") in os.listdir(os.path.join(root, "objects"))


def test_the_command_is_on_the_path_until_everything_is_removed(root: str, tmp_path: Path) -> None:
    environment(root, ID)
    release(root, b"first")
    link = tmp_path / "home" / ".local" / "bin" / "edgegolf"
    assert os.readlink(link) == f"{root}/current/environment/bin/edgegolf"
    agent.remove({}, root)
    assert not os.path.lexists(link)


def test_a_command_of_somebody_else_stays(root: str, tmp_path: Path) -> None:
    link = tmp_path / "home" / ".local" / "bin" / "edgegolf"
    link.parent.mkdir(parents=True)
    link.write_text("mine")
    environment(root, ID)
    release(root, b"first")
    agent.remove({}, root)
    assert link.read_text() == "mine"


def test_remove_refuses_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    with pytest.raises(agent.RefusedError, match="nothing is deployed"):
        agent.remove({}, str(tmp_path))
    assert (tmp_path / "objects").exists()


@pytest.mark.parametrize("module", [agent, board])
def test_old_pythons_understand_it(module: ModuleType) -> None:
    """So that they can say that they are too old."""
    ast.parse(Path(str(module.__file__)).read_text(), feature_version=(3, 7))


def test_program_needs_nothing_but_python(tmp_path: Path) -> None:
    """As the device runs it: the program, then one line, on standard input."""
    request = {"request": "probe", "root": str(tmp_path / "none" / "yet")}
    program = agent_program()
    start = f"import sys;exec(sys.stdin.buffer.read({len(program)}))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", start],
        input=program + json.dumps(request).encode() + b"\n", capture_output=True, check=True,
    )  # fmt: skip
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["schema"] == "edgegolf.device/1"
    assert answer["python"] == "{}.{}.{}".format(*sys.version_info)
    assert answer["free_bytes"] > 0
    assert not list(tmp_path.iterdir())
