"""How the C library handles memory."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory; giving it back costs half of a small net's time.

    Activations of 1–2 MB are allocated and freed thousands of times a second; by default each
    one is returned to the kernel and its pages are faulted in again.
    """
    if not sys.platform.startswith("linux"):
        return
    trim_threshold, top_pad, mmap_threshold, arena_max = -1, -2, -3, -8  # malloc.h
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(arena_max, 1)
        mallopt(mmap_threshold, 1 << 25)
        mallopt(trim_threshold, 1 << 30)
        mallopt(top_pad, 1 << 26)
