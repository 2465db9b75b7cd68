"""The package has the structure that the guide for contributors shows."""

from __future__ import annotations

import structure
from doc_tables import replace_section


def test_modules_import_only_from_their_left() -> None:
    order, common = structure.order(), structure.common()
    for path, name in structure.imports():
        room = structure.room_of(path)
        if room in order:
            allowed = {*order[: order.index(room) + 1], *common}
        else:  # common modules know no rooms
            allowed = {*common, *{"__main__": ["cli"], "__init__": ["api"]}.get(room, [])}
        assert name in allowed, f"{path} imports {name}"


def test_every_folder_has_its_place() -> None:
    folders = {path.parent.name for path in structure.PACKAGE.glob("*/__init__.py")}
    assert {*structure.order()} == {*folders, "api", "completion", "cli"}


def test_the_picture_is_drawn_from_the_imports() -> None:
    text, picture = structure.GUIDE.read_text(), structure.structure()
    assert picture in text
    assert replace_section(text, "structure", picture) == text, "run make docs"
