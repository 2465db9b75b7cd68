from __future__ import annotations

import json
import subprocess
import sys

import pytest

from edgegolf.footprint.heap import heap_bytes

needs_heap = pytest.mark.skipif(heap_bytes() is None, reason="the heap cannot be counted here")

# In a process of its own: threads of other tests' runtimes allocate and free megabytes.
MEASURED = """
import json, sys
import numpy as np
from edgegolf.footprint.heap import heap_bytes
size = int(sys.argv[1])
heap_bytes()
before = heap_bytes()
array = np.empty(size, np.uint8)  # numpy takes its memory from malloc
held = heap_bytes()
del array
print(json.dumps([before, held, heap_bytes()]))
"""


@needs_heap
@pytest.mark.parametrize("size", [300_000, 3_000_000])
def test_the_heap_grows_by_what_is_allocated_and_shrinks_again(size: int) -> None:
    command = [sys.executable, "-c", MEASURED, str(size)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    before, held, after = json.loads(output)
    others = 10_000  # what the interpreter may take or give back meanwhile
    assert abs(held - before - size) < others
    assert abs(after - before) < others
