from __future__ import annotations

from pathlib import Path

import pytest

from edgegolf.bench import board
from edgegolf.bench.board import throttling


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, None, ()),
        (0, 0, ()),
        (0x50000, 0x50000, ()),  # long ago
        (0, 0x4, ("throttled",)),
        (0x4, 0, ("throttled",)),
        (0, 0x50000, ("under-voltage", "throttled")),  # meanwhile, but no longer
        (0x50000, 0x50005, ("under-voltage", "throttled")),
        (0, 0x80008, ("soft temperature limit",)),
        (0, 0x2, ("clock capped",)),
    ],
)
def test_throttling_is_what_happened_meanwhile(
    before: int | None, after: int | None, expected: tuple[str, ...]
) -> None:
    assert throttling(before, after) == expected


def test_vcgencmd_is_asked_where_the_kernel_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "vcgencmd"
    command.write_text('#!/bin/sh\n[ "$*" = get_throttled ] && echo throttled=0x50005\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    if board.read_text("/sys/devices/platform/soc/soc:firmware/get_throttled") is None:
        assert board.throttled_bits() == 0x50005
    command.write_text("#!/bin/sh\necho VCHI initialization failed\n")
    if board.read_text("/sys/devices/platform/soc/soc:firmware/get_throttled") is None:
        assert board.throttled_bits() is None
