"""Files are written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edgegolf.errors import EdgegolfError, require
from edgegolf.files import atomic_path, read_bounded, sha256, write_atomically


def test_writing_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    write_atomically(path, "first")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_of_a_killed_writer_are_removed_and_not_those_of_a_living_one(
    tmp_path: Path,
) -> None:
    script = (
        "import sys, time; from pathlib import Path; from edgegolf.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as path:\n"
        "    path.write_bytes(b'half'); print(path, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "other.bin")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        partial = Path(writer.stdout.readline().strip())
        write_atomically(tmp_path / "file", "whole")
        assert partial.read_bytes() == b"half"
        writer.kill()
    write_atomically(tmp_path / "file", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_written_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgegolfError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "below", "text")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    def write_to_full_device() -> None:
        with atomic_path(tmp_path / "file"), open("/dev/full", "wb", buffering=0) as device:
            device.write(b"x")

    with pytest.raises(EdgegolfError, match="No space left"):
        write_to_full_device()
    assert list(tmp_path.iterdir()) == []


def test_reading_refuses_what_is_no_sound_file(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "large").write_bytes(b"12345")
    os.mkfifo(tmp_path / "pipe")  # nobody writes into it
    refused = {"missing": "does not exist", ".": "folder", "empty": "is empty",
               "pipe": "no regular file", "/dev/zero": "no regular file"}  # fmt: skip
    for name, reason in refused.items():
        with pytest.raises(EdgegolfError, match=reason):
            read_bounded(tmp_path / name)
    with pytest.raises(EdgegolfError, match="more than the 4"):
        read_bounded(tmp_path / "large", maximum=4)
    assert read_bounded(tmp_path / "large", maximum=5) == b"12345"


def test_sha256_is_that_of_the_content(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_a_missing_package_names_its_extra() -> None:
    with pytest.raises(EdgegolfError, match="no_such_package") as caught:
        require("no_such_package", extra="train")
    assert "edgegolf[train]" in caught.value.hint
