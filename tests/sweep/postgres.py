"""A real PostgreSQL server on a loopback port, for the length of a test session."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

USER = "edgegolf"


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of an empty database; skips where the server is not installed."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="edgegolf-postgres-"))
    account = _unprivileged_account(folder)
    port = free_port()
    try:
        subprocess.run(
            [programs / "initdb", "-D", folder / "data", "-U", USER, "--auth=trust", "-N",
             "--no-locale", "--encoding=UTF8"],
            check=True, stdout=subprocess.DEVNULL, cwd=folder, **account,
        )  # fmt: skip
        server = [
            programs / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", "-o",
            f"-c listen_addresses=127.0.0.1 -c port={port} -c fsync=off "
            f"-c unix_socket_directories={folder}",
        ]  # fmt: skip
        subprocess.run(
            [*server, "start"], check=True, stdout=subprocess.DEVNULL, cwd=folder, **account
        )
        try:
            yield f"postgresql://{USER}@127.0.0.1:{port}/postgres"
        finally:
            stop = [*server[:3], "-m", "immediate", "stop"]
            subprocess.run(stop, check=True, stdout=subprocess.DEVNULL, cwd=folder, **account)
    finally:
        shutil.rmtree(folder)


def _programs() -> Path | None:
    candidates = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    if found := shutil.which("initdb"):
        candidates.append(Path(found).resolve().parent)
    return next((path for path in candidates if (path / "pg_ctl").exists()), None)


def _unprivileged_account(folder: Path) -> dict[str, object]:
    """PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
