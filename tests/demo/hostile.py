"""An image that takes far more time to decode than to send."""

from __future__ import annotations

import io
from functools import cache

from PIL import Image


@cache
def many_scans(scans: int = 10_000, side: int = 4000) -> bytes:
    """A progressive JPEG whose last scan is there so many times: about a minute for 430 kB."""
    buffer = io.BytesIO()
    Image.new("L", (side, side)).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * scans + content[-2:]
