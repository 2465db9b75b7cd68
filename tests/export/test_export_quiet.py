from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from contextlib import suppress

from edgegolf.quiet import silenced


def chatter() -> None:
    print("python")
    print("python", file=sys.stderr)
    os.write(1, b"native")
    os.write(2, b"native")
    logging.warning("logged")
    warnings.warn("warned", stacklevel=1)


def test_everything_inside_is_dropped_and_nothing_after(capfd):
    with silenced():
        chatter()
    assert capfd.readouterr() == ("", "")
    print("shown")
    os.write(2, b"shown")
    assert capfd.readouterr() == ("shown\n", "shown")


def test_an_error_leaves_the_streams_and_the_log_as_they_were(capfd):
    handlers = list(logging.getLogger().handlers)

    with suppress(ZeroDivisionError), silenced():
        chatter()
        _ = 1 / 0
    os.write(1, b"shown")
    assert capfd.readouterr() == ("shown", "")
    assert logging.getLogger().handlers == handlers
    assert logging.getLogger().isEnabledFor(logging.WARNING)


def test_importing_export_is_light():
    code = (
        "import sys, edgegolf.export\n"
        "heavy = {'tensorflow', 'keras', 'tf2onnx', 'onnx', 'onnxruntime', 'rich'}\n"
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
