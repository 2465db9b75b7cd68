"""Which files of a folder do not belong to the models beside them."""

from __future__ import annotations

from pathlib import Path

from edgegolf.cards import stale_warning


def stale_files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if stale_warning(path)]
