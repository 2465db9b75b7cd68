"""Nothing that only newer Pythons than the oldest supported one import."""

from __future__ import annotations

import ast
from pathlib import Path

import edgegolf

SOURCES = sorted(Path(edgegolf.__file__).parent.rglob("*.py"))


def test_no_function_is_registered_for_a_union() -> None:
    """Python 3.10's `singledispatch` takes classes only, in annotations too."""
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        unions = {
            target.id
            for node in tree.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.BinOp)
            for target in [node.target]
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef):
                continue
            bare = [d for d in node.decorator_list if isinstance(d, ast.Attribute)]
            if any(each.attr == "register" for each in bare) and node.args.args:
                arguments = [a for a in node.args.args if a.arg not in ("self", "cls")]
                kind = arguments[0].annotation
                is_union = isinstance(kind, ast.BinOp) or (
                    isinstance(kind, ast.Name) and kind.id in unions
                )
                assert not is_union, f"{path}:{node.lineno}"
