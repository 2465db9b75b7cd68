from __future__ import annotations

import os
import socket

import pytest

from edgegolf.data.download import download
from edgegolf.errors import EdgegolfError

CONTENT = os.urandom(200_000)
MAXIMUM = 1_000_000


def check(path):
    if path.read_bytes() != CONTENT:
        raise EdgegolfError("wrong checksum")


@pytest.fixture
def target(tmp_path):
    return tmp_path / "folder" / "file.gz"


def test_a_file_arrives_whole(mirror, target):
    mirror.files["file.gz"] = CONTENT
    download([mirror.url + "file.gz"], target, check, MAXIMUM)
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["file.gz"]


def test_a_cut_connection_is_resumed(mirror, target):
    mirror.files["file.gz"] = CONTENT
    mirror.cut_after = [70_000, 50_000]
    download([mirror.url + "file.gz"], target, check, MAXIMUM)
    assert target.read_bytes() == CONTENT
    assert [start for _, start in mirror.requests] == [None, 70_000, 120_000]


def test_a_later_call_goes_on_where_an_earlier_one_stopped(mirror, target):
    mirror.files["file.gz"] = CONTENT
    target.parent.mkdir()
    target.with_name("file.gz.part").write_bytes(CONTENT[:150_000])
    download([mirror.url + "file.gz"], target, check, MAXIMUM)
    assert target.read_bytes() == CONTENT
    assert mirror.requests == [("file.gz", 150_000)]


def test_a_mirror_without_ranges_sends_everything_again(mirror, target):
    mirror.files["file.gz"] = CONTENT
    mirror.ranges = False
    mirror.cut_after = [70_000]
    download([mirror.url + "file.gz"], target, check, MAXIMUM)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("size", [1_000, len(CONTENT), 300_000])
def test_a_wrong_part_is_thrown_away(mirror, target, size):
    mirror.files["file.gz"] = CONTENT
    target.parent.mkdir()
    target.with_name("file.gz.part").write_bytes(bytes(size))
    download([mirror.url + "file.gz"], target, check, MAXIMUM)
    assert target.read_bytes() == CONTENT


def test_a_whole_part_needs_no_byte_more(mirror, target):
    mirror.files["file.gz"] = CONTENT
    target.parent.mkdir()
    target.with_name("file.gz.part").write_bytes(CONTENT)
    download([mirror.url + "file.gz"], target, check, MAXIMUM)
    assert mirror.requests == [("file.gz", len(CONTENT))]
    assert target.read_bytes() == CONTENT


def test_the_next_mirror_steps_in(mirror, down, target):
    mirror.files |= {"wrong/file.gz": CONTENT[::-1], "file.gz": CONTENT}
    urls = [down, mirror.url + "missing/", mirror.url + "wrong/", mirror.url]
    download([url + "file.gz" for url in urls], target, check, MAXIMUM)
    assert target.read_bytes() == CONTENT


def test_a_mirror_that_never_answers_is_left_soon(mirror, target, monkeypatch):
    mirror.files["file.gz"] = CONTENT
    monkeypatch.setattr("edgegolf.data.download.ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        download([mute + "file.gz", mirror.url + "file.gz"], target, check, MAXIMUM)
    assert target.read_bytes() == CONTENT


def test_one_line_tells_why_no_mirror_helped(mirror, down, target):
    mirror.files["file.gz"] = CONTENT[::-1]
    urls = [down + "file.gz", mirror.url + "missing", mirror.url + "file.gz"]
    with pytest.raises(EdgegolfError, match="cannot be downloaded") as caught:
        download(urls, target, check, MAXIMUM)
    message = caught.value.message
    assert "cannot be reached" in message
    assert "404" in message
    assert "wrong checksum" in message
    assert "\n" not in message
    assert list(target.parent.iterdir()) == []


def test_more_than_the_maximum_is_not_written(mirror, target):
    mirror.files["file.gz"] = CONTENT
    with pytest.raises(EdgegolfError, match="more than the 100,000 bytes"):
        download([mirror.url + "file.gz"], target, check, 100_000)
    assert target.with_name("file.gz.part").stat().st_size <= 100_000
    assert not target.exists()


def test_a_folder_that_cannot_be_made_is_one_line(mirror, tmp_path):
    mirror.files["file.gz"] = CONTENT
    (tmp_path / "occupied").write_text("a file")
    with pytest.raises(EdgegolfError, match="cannot be written"):
        download([mirror.url + "file.gz"], tmp_path / "occupied" / "file.gz", check, MAXIMUM)
