"""Every command that README, docs, help texts and the Makefile show is run, or named here."""

from __future__ import annotations

import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import click
import pytest

from edgegolf import workspace
from edgegolf.cli import cli
from edgegolf.data import list_datasets

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
COPIED = ("edgegolf", "models", "docs", "benchmarks", "deploy", "Makefile", "README.md",
          "pyproject.toml", "constraints.txt")  # fmt: skip

# What is not run, by what its line matches, and why.
NOT_RUN = {
    r"^edgegolf (train|ablate)\b": "trains for minutes to hours; tests/test_cli.py trains a net",
    r"^edgegolf sweep (?!.*--table)": "trains for hours, or needs a cluster; tests/sweep",
    r"^edgegolf search": "trains for minutes to hours; tests/search",
    r"^edgegolf footprint": "half an hour of measurements; tests/footprint",
    r"^edgegolf (bench|compare) cnn\.": "files of another page; tests/export/test_pytorch_page.py",
    r"^edgegolf run\b": "minutes; tests/export/test_run.py",
    r"^edgegolf export\b(?! models| pooled_linear)": "minutes; tests/export, and all nets",
    r"^edgegolf bench (models/mnist/)?tight_resnet\b(?!/)": "measures many files; one is run",
    r"^edgegolf bench .*\*": "measures many files; one is run",
    r"^edgegolf circuit .*--(simulate|synthesize)": "needs tools for FPGAs; tests/circuit",
    r"^edgegolf demo": "serves until Ctrl-C; tests/demo",
    r"^edgegolf report$": "judges the files of every net; one with fewer is run",
    r"^edgegolf report .*--figures": "draws each chart twice more; tests/report",
    r"^edgegolf report models/mnist/\*": "judges the files of every net; one with fewer is run",
    r"^edgegolf .*(@|--on )": "needs a device; tests/arm emulates one",
    r"^edgegolf .*--emulate": "needs QEMU and Debian packages; tests/arm",
    r"mlperf_tiny_resnet8_int8": "a file that docs/cifar10.md says how to get",
    r"^(ssh|scp|ssh-keygen|ssh-copy-id) ": "needs a device",
    r"^cd |^ls |^edgegolf bench models/tight_resnet/": "typed on a device",
    r"^bash deploy/ci/gate.sh": "needs a repository; tests/test_ci_templates.py",
    r"^edgegolf \w+ .*\b(mine\.|made/)": "a file of the reader's own",
    r"--provider cuda": "needs a GPU",
    r"^edgegolf classify photo.jpg": "a photo of the reader's own; tests/demo",
    r"^curl ": "needs the demo; tests/demo posts to it",
    r"sha256sum": "of data sets that are nowhere in the project",
    r"^(python3 -m venv|source|pip (un)?install) ": "downloads packages; tests/test_install.py",
    r"^edgegolf c .*--fits": "needs a cross-compiler; tests/export",
    r"^python benchmarks/update_docs.py": "minutes, and draws; tests/test_docs.py",
    r"^make (train|export|test)": "trains for minutes to hours; small ones are run",
    r"^(make docs|python benchmarks/users.py)": "minutes to hours of measurements",
    r"^make report": "judges the files of every net; one with fewer is run",
}
# Files of the reader's own.
EXAMPLES = {"my.keras", "torch.onnx", "samples.npz", "images.npz", "my.toml",
            "walk.toml",
            "mlperf_tiny_resnet8_int8.tflite", "photo.jpg", "cnn.onnx", "cnn.int8.tflite",
            "cnn.float32.tflite", "mine.tflite", "mine.onnx", "mine.keras",
            "made/int8.tflite", "models/tight_resnet/int8.tflite"}  # fmt: skip
TARGETS_NOT_RUN = {
    "demo": "serves until Ctrl-C; tests/demo",
    "docs": "minutes: runs commands, draws pictures; tests/test_docs.py holds what it writes",
    "lint": "a minute of mypy; .ci/run runs it",
    "report": "judges the files of every net; a page of fewer is written by a command",
    "setup": "downloads 2.1 GB; .ci/run runs it, tests/test_install.py installs",
    "site": "downloads Sphinx; .ci/run runs it",
    "test": "these tests",
    **dict.fromkeys(("test-arm", "test-browser", "test-circuit", "test-cluster", "test-install",
                     "test-long", "test-mcu"),
                    "more tests, which .ci/run runs"),
}  # fmt: skip


def blocks() -> Iterator[tuple[str, str]]:
    """The source and the text of every block of commands."""
    for page in PAGES:
        for language, text in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.M | re.S):
            if language == "sh":
                yield page.name, text
            else:
                assert not re.search(r"^(edgegolf|make) ", text, re.M), f"{page.name}: tag it as sh"
    for name, command in [("", cli), *cli.commands.items()]:
        examples = re.findall(r"^ *(edgegolf .*)$", command.help or "", re.M)
        # Two spaces or more stand before what an example of `edgegolf --help` does.
        yield f"edgegolf {name} --help", "\n".join(re.split("  +", each)[0] for each in examples)


def commands() -> list[tuple[str, str]]:
    """The source and the text of every command, without its comment; each once."""
    found: dict[str, str] = {}
    for source, text in blocks():
        for line in text.replace("\\\n", " ").splitlines():
            if command := re.sub(r"\s+#.*", "", line).strip():
                found.setdefault(command, source)
    return [(source, command) for command, source in found.items()]


def reason(command: str) -> str | None:
    return next((why for what, why in NOT_RUN.items() if re.search(what, command)), None)


COMMANDS = commands()
MNIST = next(status for status in list_datasets() if status.name == "mnist")
RUN = [command for _, command in COMMANDS if reason(command) is None]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project as a clone is, with an environment that is ready."""
    tree = tmp_path_factory.mktemp("tree")
    for name in COPIED:
        path = ROOT / name
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", ".training")
            shutil.copytree(path, tree / name, ignore=ignored, symlinks=True)
        else:
            shutil.copy2(path, tree / name)
    binaries = tree / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    starter = binaries / "edgegolf"
    starter.write_text(f'#!/bin/sh\nexec {sys.executable} -m edgegolf "$@"\n')
    starter.chmod(0o755)
    (tree / ".venv" / ".ready").touch()
    return tree


def run(command: str, tree: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ, "COLUMNS": "80", "PYTHONPATH": str(tree),
        "PATH": f"{tree / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):  # of the make that runs the tests
        environment.pop(name, None)
    return subprocess.run(
        ["bash", "-c", command], cwd=tree, env=environment, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip


def written_by(arguments: list[str]) -> set[str]:
    """The arguments that name what a command writes."""
    options = ("-o", "--output", "--picture", "--figures", "--out", "--best")
    return {word for option, word in pairwise(arguments) if option in options}


def test_every_command_has_options_and_files_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of those that are not run: a renamed option or file is noticed."""
    monkeypatch.setattr(workspace, "check_given", lambda path: path)  # some write what others read
    written: set[str] = set()
    for source, command in COMMANDS:
        words = shlex.split(command)
        words = words[next((i for i, word in enumerate(words) if "=" not in word), 0) :]
        if words[0] != "edgegolf" or words[1:] in (["--help"], []):
            continue
        verb, *arguments = words[1:]
        assert verb in cli.commands, f"{source}: {command}"
        try:
            cli.commands[verb].make_context(verb, list(arguments))
        except click.ClickException as error:
            raise AssertionError(f"{source}: {command}: {error.message}") from None
        written |= written_by(arguments)
        for word in arguments:
            path = word.replace("~", "")
            if re.search(r"\.(tflite|onnx|keras|npz|toml|json|png|jpg)$", path):
                found = glob.glob(str(ROOT / path)) or word in written or word in EXAMPLES
                assert found, f"{source}: {command}: there is no {word}"


def test_commands_within_sentences_exist() -> None:
    """Verbs, options, targets and scripts; words in capitals stand for others."""
    makefiles = (ROOT / "Makefile", ROOT / "edgegolf" / "circuit" / "Makefile")
    known = set(re.findall(r"^([\w.%-]+):", "".join(m.read_text() for m in makefiles), re.M))
    for page in PAGES:
        for command in re.findall(r"`((?:edgegolf|make|python) [^`\n]+)`", page.read_text()):
            program, *words = shlex.split(command)
            if program == "python":
                assert (ROOT / words[0]).is_file(), f"{page.name}: {command}"
            elif program == "make":
                plain = {word for word in words if "=" not in word}
                targets = {re.sub(r"^\w+\.", "%.", word) for word in plain}
                assert targets <= known, f"{page.name}: {command}"
            elif words[0] != "VERB":
                verb = cli if words[0].startswith("-") else cli.commands[words[0]]
                options = {each for parameter in verb.params for each in parameter.opts}
                given = {word for word in words if word.startswith("-")} - {"-h", "--help"}
                assert given <= options, f"{page.name}: {command}"


def test_every_exception_is_one() -> None:
    """A reason of a command that is gone goes, too."""
    for what in NOT_RUN:
        assert any(re.search(what, command) for _, command in COMMANDS), what


@pytest.mark.parametrize("command", RUN)
def test_commands_run(command: str, tree: Path) -> None:
    if "baseline" in command and not (tree / "before.json").exists():
        pytest.skip("the command before it was not run")
    if command.startswith("edgegolf zoo ") or "export" in command:
        pytest.importorskip("tensorflow")
    if command.startswith("edgegolf bench"):
        command += " --min-time 0.01"  # two seconds for every file otherwise
    if command.startswith("edgegolf export"):
        command += " --quick"  # half a minute otherwise; tests/export searches and tunes
    if re.search("accuracy|export|report|classify|--data mnist", command) and not MNIST.found:
        pytest.skip("MNIST is not on this machine")
    done = run(command, tree)
    gate = re.search(r"--(baseline|max-latency)", command)  # may fail on a busy machine
    assert done.returncode in ((0, 1) if gate else (0,)), done.stderr
    assert "Traceback" not in done.stderr
    if not re.search("--(json|markdown)", command):
        assert max(map(len, done.stdout.splitlines()), default=0) <= 80
        assert "…" not in done.stdout


def targets() -> list[str]:
    return re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.M)


def test_every_target_is_run_or_named() -> None:
    assert {*TARGETS_NOT_RUN} | {"help", "train", "export", "bench", "clean"} == {*targets()}
    done = run(f"make --dry-run {' '.join(targets())}", ROOT)
    assert done.returncode == 0, done.stderr


def test_what_the_makefile_says_fits_80_columns() -> None:
    said = re.findall(r"echo '(.*)'", run("make --dry-run help setup VENV=.fresh", ROOT).stdout)
    assert any("2.1 GB" in line for line in said)
    assert max(map(len, said)) <= 80


@pytest.mark.long
def test_targets_run(tree: Path) -> None:
    pytest.importorskip("tensorflow")
    helped = run("make", tree)
    assert all(f"  {target} " in helped.stdout for target in targets())
    assert ".venv/bin/edgegolf" in helped.stdout
    work = "MODELS=pooled_linear DATASET=digits"
    made = run(f"make train export {work} EPOCHS=12", tree)
    assert made.returncode == 0, made.stderr
    assert "source .venv/bin/activate" in made.stdout.splitlines()[-1]
    dry = run("make --dry-run bench", tree)
    assert {"models/mnist/linear", "models/digits/pooled_linear"} <= {*dry.stdout.split()}
    benched = run(f"make bench {work} MODELS=models/digits/pooled_linear/int8.onnx", tree)
    assert benched.returncode == 0, benched.stderr
    assert "int8.onnx" in benched.stdout
    assert run("make clean", tree).returncode == 0
    assert not (tree / ".venv").exists()
