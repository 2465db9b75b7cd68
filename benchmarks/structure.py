"""The structure of the package, drawn from its imports.

python benchmarks/structure.py
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "edgegolf"
GUIDE = ROOT / "CONTRIBUTING.md"


def order() -> list[str]:
    """The rooms from left to right, as the guide for contributors has them."""
    (block,) = re.findall(r"```\n(data →[^`]*)```", GUIDE.read_text())
    return re.findall(r"\w+", block)


def common() -> set[str]:
    """What every room may import, as the guide has it."""
    (sentence,) = re.findall(r"common modules (`[^)]*)\)", GUIDE.read_text())
    return set(re.findall(r"`(\w+)`", sentence))


def imports() -> Iterator[tuple[Path, str]]:
    """Each file and a room or module of the package that it imports, its own included."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [f"{node.module}.{each.name}" for each in node.names]
            elif isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            yield from ((path, n.split(".")[1]) for n in names if n.startswith("edgegolf."))


def room_of(path: Path) -> str:
    """The room, or the module beside the rooms, that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def structure() -> str:
    """The rooms as a Mermaid diagram; what is imported by a room is where its arrows begin.

    Arrows that others imply are left out.
    """
    rooms = order()
    read: dict[str, set[str]] = {room: set() for room in rooms}
    for path, name in imports():
        if room_of(path) in read and name in read and name != room_of(path):
            read[room_of(path)].add(name)
    reached: dict[str, set[str]] = {}
    for room in rooms:  # each after those that it imports
        reached[room] = read[room].union(*(reached[each] for each in read[room]))
    arrows = [
        f"    {other} --> {room}"
        for room in rooms
        for other in sorted(read[room], key=rooms.index)
        if not any(other in reached[between] for between in read[room])
    ]
    return "\n".join(("```mermaid", "flowchart LR", *arrows, "```", ""))


if __name__ == "__main__":
    print(structure(), end="")
