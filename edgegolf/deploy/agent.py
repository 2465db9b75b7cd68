"""What runs on the device: one request in, one answer out.

This file is sent over the connection, with `edgegolf/bench/board.py`, and run by the device's own
Python before anything is installed there; so both need no more than Python 3.7 and its standard
library. The request is one line of JSON on standard input, so that no path and no
name passes through a shell; what `receive` stores follows it. The answer is the last line of
standard output. What happens meanwhile is told on standard error.

Below the root, everything but `current` is written once and never changed:

    objects/SHA256            contents, sent once; SHA256.partial while under way
    environments/ID/          Python environments
    trees/ID/                 folders of model files, links to objects
    releases/N/               a manifest, and links to an environment and a tree
    current                   link to the release in use
    results/COMMAND/          benchmarks of a command that was not finished

And `~/.local/bin/edgegolf` leads to the command of the release in use.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from edgegolf.bench.board import (
    board_model,
    frequency_mhz,
    governor,
    read_text,
    temperature,
    throttled_bits,
)

BLOCK = 1 << 16
KEPT_RELEASES = 3
MAXIMUM_OUTPUT = 1 << 26
MARKER = "edgegolf-devices-root"
FOLDERS = ("objects", "environments", "trees", "releases", "results")
HEXADECIMAL = re.compile(r"[0-9a-f]{64}")


class RefusedError(Exception):
    """Something the user can mend: a message and a hint."""

    def __init__(self, message: str, hint: str = "", kind: str = "") -> None:
        Exception.__init__(self, message)
        self.answer = {"error": message, "hint": hint, "kind": kind}


# --- the machine ---------------------------------------------------------------------------------


def probe(request: dict[str, Any], root: str) -> dict[str, Any]:
    """The machine and the disk, nothing of it changed."""
    system = os.uname()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "schema": "edgegolf.device/1",
        "board": board_model(),
        "os": _operating_system(),
        "kernel": f"{system.sysname} {system.release}",
        "machine": system.machine,
        "bits": struct.calcsize("P") * 8,
        "python": "{}.{}.{}".format(*sys.version_info),
        "implementation": platform.python_implementation(),
        "libc": "-".join(platform.libc_ver()),
        "memory_bytes": memory,
        "free_bytes": _free_bytes(root),
        "root": root,
        "throttled": throttled_bits(),
        "temperature_c": temperature(),
        "governor": governor(),
        "frequency_mhz": frequency_mhz(),
    }


def _operating_system() -> str:
    """Its name, as the distribution says it."""
    for line in (read_text("/etc/os-release") or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.split("=", 1)[1].strip('"')
    return platform.platform()


def _free_bytes(root: str) -> int:
    folder = root
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return shutil.disk_usage(folder).free


# --- contents ------------------------------------------------------------------------------------


def stage(request: dict[str, Any], root: str) -> dict[str, Any]:
    """How many bytes of each content are here; prepares the root for the rest."""
    for folder in FOLDERS:
        os.makedirs(os.path.join(root, folder), exist_ok=True)
    with open(os.path.join(root, MARKER), "w"):
        pass
    return {"present": [_received(root, sha256, size) for sha256, size in request["contents"]]}


def _received(root: str, sha256: str, size: int) -> int:
    path = _content_path(root, sha256)
    if os.path.isfile(path):
        if os.path.getsize(path) == size and _digest(path) == sha256:
            return size
        os.unlink(path)  # damaged, by a power cut or a failing card
    try:
        have = os.path.getsize(path + ".partial")
    except OSError:
        return 0
    if have < size:
        return have
    os.unlink(path + ".partial")
    return 0


def receive(request: dict[str, Any], root: str) -> dict[str, Any]:
    """Take contents from standard input, each from an offset on, and verify each as a whole."""
    needed = sum(size - offset for _, size, offset in request["contents"])
    if needed > _free_bytes(root):
        raise _full(root, needed)
    for sha256, size, offset in request["contents"]:
        _receive_rest(_content_path(root, sha256), sha256, size, offset)
    return {}


def _receive_rest(path: str, sha256: str, size: int, offset: int) -> None:
    partial = path + ".partial"
    with open(partial, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if file.tell() != offset:
            raise RefusedError("the same file is being copied by somebody else", "try again later")
        left = size - offset
        while left:
            block = sys.stdin.buffer.read(min(left, BLOCK))
            if not block:
                raise RefusedError("the connection was lost")
            file.write(block)
            file.flush()
            left -= len(block)
        os.fsync(file.fileno())
        if _digest(partial) != sha256:
            os.unlink(partial)
            raise RefusedError("the copy is damaged", "check the device's disk", "damaged")
        os.replace(partial, path)


def _digest(path: str) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            found.update(block)
    return found.hexdigest()


def _content_path(root: str, sha256: str) -> str:
    return os.path.join(root, "objects", _checked(sha256))


def _checked(name: str) -> str:
    if not HEXADECIMAL.fullmatch(name):
        raise RefusedError(f"{name!r} is no SHA-256")
    return name


def _full(root: str, needed: int = 0) -> RefusedError:
    wanted = f", {needed / 1e6:.1f} MB are needed" if needed else ""
    return RefusedError(
        f"the disk is full: {root} has {_free_bytes(root) / 1e6:.1f} MB free{wanted}",
        "make room there, or choose a folder on another disk with --dir",
    )


def _link(source: str, destination: str) -> None:
    os.makedirs(os.path.dirname(destination), exist_ok=True)
    try:
        os.link(source, destination)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        shutil.copyfile(source, destination)  # a disk without hard links


def build_tree(request: dict[str, Any], root: str) -> dict[str, Any]:
    """A folder of files whose contents are here; whole or not at all."""
    tree = os.path.join(root, "trees", _checked(request["tree"]))
    files = [(os.path.normpath(name), _checked(sha256)) for name, sha256 in request["files"]]
    for name, _ in files:
        if os.path.isabs(name) or name.split(os.sep)[0] in (os.curdir, os.pardir):
            raise RefusedError(f"{name!r} is outside of its folder")
    if os.path.isdir(tree):
        _mend(root, tree, files)
        return {}
    partial = f"{tree}.partial-{os.getpid()}"
    try:
        os.mkdir(partial)
        for name, sha256 in files:
            _link(_content_path(root, sha256), os.path.join(partial, name))
        os.rename(partial, tree)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {}


def _mend(root: str, tree: str, files: list[tuple[str, str]]) -> None:
    """Replace the files of a tree that a power cut or a failing card has damaged."""
    for name, sha256 in files:
        path = os.path.join(tree, name)
        if not os.path.isfile(path) or _digest(path) != sha256:
            _link(_content_path(root, sha256), path + ".new")
            os.replace(path + ".new", path)


# --- environments --------------------------------------------------------------------------------


def _environment_path(root: str, environment: str) -> str:
    return os.path.join(root, "environments", _checked(environment))


def _is_complete(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, "complete.json"))


def find_environment(request: dict[str, Any], root: str) -> dict[str, Any]:
    """Whether an environment is installed."""
    return {"complete": _is_complete(_environment_path(root, request["environment"]))}


def install(request: dict[str, Any], root: str) -> dict[str, Any]:
    """An environment of its own with the wheels that were sent, or with those of the index."""
    folder = _environment_path(root, request["environment"])
    with _Lock(root, "install"):
        if not _is_complete(folder):
            shutil.rmtree(folder, ignore_errors=True)
            try:
                _make_environment(request, root, folder)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            _tidy(root, request["environment"])
    return {}


def _make_environment(request: dict[str, Any], root: str, folder: str) -> None:
    made = _run([sys.executable, "-I", "-m", "venv", "--without-pip", folder])
    if made.returncode:
        raise RefusedError(
            f"{sys.executable} cannot make an environment: {_last_line(made.output)}",
            "on the device: sudo apt install python3-venv",
        )
    python = os.path.join(folder, "bin", "python")
    wheels, temporary = os.path.join(folder, "wheels"), os.path.join(folder, "tmp")
    os.mkdir(temporary)
    for name, sha256 in [request["pip"], request["edgegolf"]] + request["wheels"]:
        _link(_content_path(root, sha256), os.path.join(wheels, os.path.basename(name)))
    pip = [python, os.path.join(wheels, request["pip"][0], "pip"), "install", "--no-input"]
    pip += ["--disable-pip-version-check", "--no-compile", "--progress-bar=off"]
    if request["wheels"]:  # all of them, resolved for this device already
        names = [os.path.join(wheels, os.path.basename(name)) for name, _ in request["wheels"]]
        pip += ["--no-index", "--no-deps", "--no-cache-dir", "--", *names]
    else:
        pip += ["--prefer-binary", "--", *request["requirements"]]
    installed = _run(pip, TMPDIR=temporary)
    if installed.returncode:
        if "No space left" in installed.output:
            raise _full(root)
        raise RefusedError(
            f"the packages cannot be installed: {_last_line(installed.output)}",
            "a device without internet takes them from here with --wheels DIR",
        )
    (site,) = [
        os.path.join(folder, "lib", name, "site-packages")
        for name in os.listdir(os.path.join(folder, "lib"))
    ]
    with zipfile.ZipFile(os.path.join(wheels, request["edgegolf"][0])) as wheel:
        wheel.extractall(site)
    _write_command(os.path.join(folder, "bin", "edgegolf"))
    started = _run([python, "-I", "-m", "edgegolf", "--version"])
    if started.returncode:
        raise RefusedError(f"edgegolf does not start there: {_last_line(started.output)}")
    shutil.rmtree(wheels)
    shutil.rmtree(temporary)
    _write_json(
        os.path.join(folder, "complete.json"),
        {
            "contents": [
                sha256 for _, sha256 in request["wheels"] + [request["pip"], request["edgegolf"]]
            ]
        },
    )


def _write_command(path: str) -> None:
    """A command that finds its environment wherever it is called from, also under a new name."""
    with open(path, "w") as file:
        file.write('#!/bin/sh\nexec "$(dirname "$(readlink -f "$0")")/python" -m edgegolf "$@"\n')
    os.chmod(path, 0o755)


class Done:
    """How a program ended."""

    def __init__(self, returncode: int, output: str) -> None:
        self.returncode, self.output = returncode, output


def _run(command: list[str], **environment: str) -> Done:
    """Run a program, telling what it prints on standard error as it comes."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=dict(_clean_environment(), **environment),
    )  # fmt: skip
    lines: list[str] = []
    for line in process.stdout or ():
        lines = [*lines[-200:], line.decode(errors="replace")]
        _tell(sys.stderr, lines[-1])
    return Done(process.wait(), "".join(lines))


def _tell(stream: TextIO, text: str) -> None:
    with suppress(OSError):  # nobody listens any more; what was begun is finished for next time
        stream.write(text)
        stream.flush()


def _clean_environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") or name == "PYTHONHASHSEED"
    }


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it says nothing"])[-1]


def execute(request: dict[str, Any], root: str) -> dict[str, Any]:
    """A module of edgegolf in an environment; its output is the answer, unless it failed."""
    return {"output": _output_of(request, root)}


def _output_of(request: dict[str, Any], root: str) -> str:
    python = os.path.join(_environment_path(root, request["environment"]), "bin", "python")
    folder = os.path.join(root, "trees", _checked(request["tree"]))
    environment = _clean_environment()
    if request.get("data"):
        environment["EDGEGOLF_DATA"] = os.path.join(root, "trees", _checked(request["data"]))
    process = subprocess.Popen(
        [python, "-I", "-m", *request["arguments"]], cwd=folder, env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    output, _ = process.communicate(request.get("input", "").encode())
    if process.returncode < 0:
        raise RefusedError(
            f"{request['subject']}: the runtime crashed there with signal {-process.returncode}",
            "try another --runtime",
        )
    if process.returncode and not output:
        raise RefusedError(f"{request['subject']}: it failed there, as told above")
    if len(output) > MAXIMUM_OUTPUT:
        raise RefusedError(f"{request['subject']}: more output than is believable")
    return output.decode(errors="replace")


def bench(request: dict[str, Any], root: str) -> dict[str, Any]:
    """The benchmark of one file, kept until the command that asked for it is through."""
    folder = os.path.join(root, "results", _checked(request["command"]))
    path = os.path.join(folder, f"{request['number']:d}.json")
    with _Lock(root, "bench"):  # an earlier run that lost its connection may still be measuring
        kept = os.path.isfile(path)
        if not kept:
            os.makedirs(folder, exist_ok=True)
            _write_json(path, _output_of(request, root))
    with open(path) as file:
        return {"output": json.load(file), "kept": kept}


def forget_results(request: dict[str, Any], root: str) -> dict[str, Any]:
    """The command got all its results: the next time it measures anew."""
    shutil.rmtree(os.path.join(root, "results", _checked(request["command"])), ignore_errors=True)
    return {}


# --- releases ------------------------------------------------------------------------------------


def release(request: dict[str, Any], root: str) -> dict[str, Any]:
    """Put a tree and an environment to use, under the next number."""
    with _Lock(root, "release"):
        number = max([0, *_release_numbers(root)]) + 1
        folder = os.path.join(root, "releases", str(number))
        partial = folder + ".partial"
        shutil.rmtree(partial, ignore_errors=True)
        os.mkdir(partial)
        manifest = dict(request["manifest"], release=number)
        _write_json(os.path.join(partial, "manifest.json"), manifest)
        for name, kind in (("environment", "environments"), ("models", "trees")):
            target = os.path.join("..", "..", kind, _checked(request[name]))
            os.symlink(target, os.path.join(partial, name))
        os.rename(partial, folder)
        _switch(root, number)
        _link_command(root)
        _tidy(root, request["environment"])
    return {"release": number}


def rollback(request: dict[str, Any], root: str) -> dict[str, Any]:
    """Put the release before the current one to use."""
    with _Lock(root, "release"):
        current = _current_release(root)
        earlier = [number for number in _release_numbers(root) if number < (current or 0)]
        if not earlier:
            raise RefusedError(
                "there is no earlier release to go back to", "edgegolf deploy --status"
            )
        target = max(earlier)
        if not _is_complete(os.path.join(root, "releases", str(target), "environment")):
            raise RefusedError(f"the environment of release {target} is gone")
        _switch(root, target)
    return {"release": target}


def status(request: dict[str, Any], root: str) -> dict[str, Any]:
    """Every release, and which is in use."""
    return {
        "current": _current_release(root),
        "releases": [_read_manifest(root, number) for number in _release_numbers(root)],
    }


def remove(request: dict[str, Any], root: str) -> dict[str, Any]:
    """Take away all that edgegolf put here; other files in the root stay."""
    if not os.path.isfile(os.path.join(root, MARKER)):
        raise RefusedError(f"nothing is deployed in {root}", "--dir names another folder")
    link, target = _command(root)
    with suppress(OSError):
        if os.readlink(link) == target:
            os.unlink(link)
    for name in ("current", MARKER):
        path = os.path.join(root, name)
        if os.path.lexists(path):
            os.unlink(path)
    for folder in FOLDERS:
        shutil.rmtree(os.path.join(root, folder), ignore_errors=True)
    with suppress(OSError):
        os.rmdir(root)
    return {}


def _release_numbers(root: str) -> list[int]:
    try:
        names = os.listdir(os.path.join(root, "releases"))
    except OSError:
        return []
    return sorted(int(name) for name in names if name.isdigit())


def _current_release(root: str) -> int | None:
    try:
        name = os.path.basename(os.readlink(os.path.join(root, "current")))
    except OSError:
        return None
    return int(name) if name.isdigit() else None


def _read_manifest(root: str, number: int) -> Any:
    with open(os.path.join(root, "releases", str(number), "manifest.json")) as file:
        return json.load(file)


def _switch(root: str, number: int) -> None:
    new = os.path.join(root, "current.new")
    if os.path.lexists(new):
        os.unlink(new)
    os.symlink(os.path.join("releases", str(number)), new)
    os.replace(new, os.path.join(root, "current"))


def _command(root: str) -> tuple[str, str]:
    """The command's place on the user's path, and where it leads."""
    link = os.path.join(os.path.expanduser("~"), ".local", "bin", "edgegolf")
    return link, os.path.join(root, "current", "environment", "bin", "edgegolf")


def _link_command(root: str) -> None:
    """Put the command on the user's path, unless something of that name is there."""
    link, target = _command(root)
    with suppress(OSError):
        os.makedirs(os.path.dirname(link), exist_ok=True)
        if not os.path.lexists(link):
            os.symlink(target, link)


def _tidy(root: str, environment: str) -> None:
    """Take away old releases, what only they needed, and environments that no release needs."""
    numbers = _release_numbers(root)
    current = _current_release(root)
    dropped = [number for number in numbers[:-KEPT_RELEASES] if number != current]
    old_trees = {_target(root, number, "models") for number in dropped}
    for number in dropped:
        shutil.rmtree(os.path.join(root, "releases", str(number)))
    kept = [number for number in numbers if number not in dropped]
    for tree in old_trees - {_target(root, number, "models") for number in kept}:
        shutil.rmtree(os.path.join(root, "trees", tree), ignore_errors=True)
    environments = {_target(root, number, "environment") for number in kept} | {environment}
    wheels = set()
    for name in os.listdir(os.path.join(root, "environments")):
        folder = os.path.join(root, "environments", name)
        if name not in environments:
            shutil.rmtree(folder, ignore_errors=True)
        elif _is_complete(folder):
            with open(os.path.join(folder, "complete.json")) as file:
                wheels.update(json.load(file)["contents"])
    for name in os.listdir(os.path.join(root, "objects")):
        path = os.path.join(root, "objects", name)
        in_trees = os.stat(path).st_nlink > 1
        if not (in_trees or name in wheels or name.endswith(".partial")):
            os.unlink(path)


def _target(root: str, number: int, name: str) -> str:
    return os.path.basename(os.readlink(os.path.join(root, "releases", str(number), name)))


class _Lock:
    """Keep other requests of a kind waiting."""

    def __init__(self, root: str, kind: str) -> None:
        self.path = os.path.join(root, "results", f"{kind}.lock")

    def __enter__(self) -> None:
        self.file = open(self.path, "w")
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *error: object) -> None:
        self.file.close()


def _write_json(path: str, value: Any) -> None:
    with open(path + ".partial", "w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".partial", path)


# --- one request ---------------------------------------------------------------------------------

REQUESTS: dict[str, Callable[[dict[str, Any], str], dict[str, Any]]] = {
    function.__name__: function
    for function in (
        probe, stage, receive, build_tree, find_environment, install, execute, bench,
        forget_results, release, rollback, status, remove,
    )
}  # fmt: skip


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    root = os.path.abspath(os.path.expanduser(request["root"]))
    try:
        return REQUESTS[request["request"]](request, root)
    except RefusedError as refusal:
        return refusal.answer
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _full(root).answer
        message = f"{error.filename or root}: {error.strerror or error}"
        return {"error": message, "hint": "check the folder's permissions", "kind": ""}


if __name__ == "__main__":
    found = _answer(json.loads(sys.stdin.buffer.readline()))
    _tell(sys.stdout, "\n" + json.dumps(found) + "\n")
