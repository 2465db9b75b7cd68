from __future__ import annotations

import os

import pytest

from edgegolf.runtimes.chatter import strip_chatter, without_chatter


def test_only_chatter_is_held_back(capfd):
    with without_chatter():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nERROR: no memory\n")
    assert capfd.readouterr().err == "ERROR: no memory\n"


def test_errors_pass_through_and_standard_error_is_restored(capfd):
    with pytest.raises(ValueError, match="odd"), without_chatter():
        raise ValueError("odd")
    os.write(2, b"INFO: later\n")
    assert capfd.readouterr().err == "INFO: later\n"


def test_continued_lines_are_chatter_too():
    said = "WARNING: no plugin\n└ cannot open shared object file\nreal\n".encode()
    assert strip_chatter(said) == b"real\n"
