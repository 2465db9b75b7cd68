from __future__ import annotations

import numpy as np
import pytest

from edgegolf.footprint.heap import heap_bytes

needs_heap = pytest.mark.skipif(heap_bytes() is None, reason="the heap cannot be counted here")


@needs_heap
@pytest.mark.parametrize("size", [300_000, 3_000_000])
def test_the_heap_grows_by_what_is_allocated_and_shrinks_again(size: int) -> None:
    before = heap_bytes()
    array = np.empty(size, np.uint8)  # numpy takes its memory from malloc
    held = heap_bytes()
    del array
    after = heap_bytes()
    assert before is not None
    assert held is not None
    assert after is not None
    others = 100_000  # what else the interpreter may take or give back meanwhile
    assert abs(held - before - size) < others
    assert abs(after - before) < others
