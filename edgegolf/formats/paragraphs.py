"""Files of words in paragraphs, as the schemas of formats are kept."""

from __future__ import annotations

from importlib.resources import files


def read_paragraphs(package: str, name: str) -> list[list[str]]:
    """The words of each paragraph of a file beside a module.

    A paragraph's lines but the first are indented; lines that begin with ``#`` are comments.
    """
    found: list[list[str]] = []
    for line in (files(package) / name).read_text().splitlines():
        if line.startswith(" "):
            found[-1] += line.split()
        elif not line.startswith("#"):
            found.append(line.split())
    return found
