from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgegolf.data.idx import parse_idx, read_content
from edgegolf.errors import EdgegolfError

UINT8_ARRAYS = arrays.arrays(np.uint8, arrays.array_shapes(max_dims=4, max_side=5))


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


@given(UINT8_ARRAYS)
def test_parse_returns_what_was_written(array):
    np.testing.assert_array_equal(parse_idx(idx(array), "file"), array)


@given(UINT8_ARRAYS, st.data())
def test_every_truncation_is_refused(array, data):
    content = idx(array)
    length = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(EdgegolfError):
        parse_idx(content[:length], "file")


@given(UINT8_ARRAYS, st.binary(min_size=1, max_size=20))
def test_trailing_bytes_are_refused(array, extra):
    with pytest.raises(EdgegolfError, match="left over"):
        parse_idx(idx(array) + extra, "file")


@settings(max_examples=300)
@given(st.binary(max_size=64) | st.binary(max_size=40).map(lambda tail: b"\0\0\x08\x02" + tail))
def test_any_bytes_give_an_array_or_one_clear_line(content):
    try:
        assert idx(parse_idx(content, "some/file")) == content
    except EdgegolfError as error:
        refusal = error
    else:
        return
    assert refusal.message.startswith("some/file ")
    assert "\n" not in refusal.message
    assert refusal.hint


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an IDX file"),
        (b"\0\0\x0d\x01\0\0\0\1\0\0\0\0", "not an IDX file"),  # floats
        (b"\0\0\x08\x00", "not an IDX file"),
        (b"\0\0\x08\xff" + bytes(4 * 255), "not an IDX file"),
        (b"\0\0\x08\x03\0\0\0\1", "truncated"),
        (b"\0\0\x08\x04" + b"\xff" * 16, "truncated"),  # 2**128 elements
        (b"\0\0\x08\x04" + b"\0" * 4 + b"\xff" * 12, "none"),
    ],
)
def test_a_wrong_header_says_what_is_wrong(content, reason):
    with pytest.raises(EdgegolfError, match=reason):
        parse_idx(content, "file")


@given(content=st.binary(min_size=1, max_size=200).filter(lambda data: data[:2] != b"\x1f\x8b"))
def test_compressed_and_plain_content_are_the_same(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("content")
    (folder / "plain").write_bytes(content)
    (folder / "packed").write_bytes(gzip.compress(content))
    assert read_content(folder / "plain", 200) == read_content(folder / "packed", 200) == content


def test_a_gzip_bomb_is_refused(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(20_000_000)))
    assert path.stat().st_size < 30_000
    with pytest.raises(EdgegolfError, match="more than the 60,008 bytes"):
        read_content(path, 60_008)


def test_an_oversized_plain_file_is_refused(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(bytes(1001))
    with pytest.raises(EdgegolfError, match="more than the 1,000 bytes"):
        read_content(path, 1000)


@pytest.mark.parametrize("damage", ["cut", "flip", "trailing", "header only"])
def test_a_damaged_gzip_file_is_refused(tmp_path, damage):
    whole = gzip.compress(bytes(range(256)) * 4)
    damaged = {
        "cut": whole[:-12],
        "flip": whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:],
        "trailing": whole + b"rubbish",
        "header only": whole[:2],
    }[damage]
    path = tmp_path / "file.gz"
    path.write_bytes(damaged)
    with pytest.raises(EdgegolfError, match="damaged gzip file"):
        read_content(path, 1024)
