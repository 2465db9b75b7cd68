"""Heap memory to the byte: the resident set is counted in pages, larger than a small net."""

from __future__ import annotations

import ctypes
import gc
import platform

# struct mallinfo2 of glibc 2.33 and later: https://man7.org/linux/man-pages/man3/mallinfo.3.html
_FIELDS = (
    "arena", "ordblks", "smblks", "hblks", "hblkhd",
    "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
)  # fmt: skip


class _Mallinfo2(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_size_t) for name in _FIELDS)


def heap_bytes() -> int | None:
    """Bytes that this process has allocated by malloc and not freed; None without glibc 2.33."""
    if platform.libc_ver()[0] != "glibc":
        return None
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return None
    library.mallinfo2.restype = _Mallinfo2
    gc.collect()
    found = library.mallinfo2()
    return int(found.uordblks + found.hblkhd)  # in arenas, and large blocks mapped one by one
