from __future__ import annotations

import numpy as np
import pytest
from ir_nets import Builder, pixels

from edgegolf.ir import Graph, ops
from edgegolf.ir.interpreter import run
from edgegolf.passes.mosaics import pool_copies_once


def copies(corners: list[tuple[int, int]], pool: type = ops.AveragePool2D) -> Graph:
    """Copies of an image of 6 rows and columns, pooled by 2 and put on a canvas of 8."""
    build = Builder(6, 6, 2)
    image = build.convolve(build.source, build.weight(2, 1, 1, 2))
    total = None
    for top, left in corners:
        inner = ((0, 0), *((at % 2, at % 2) for at in (top, left)), (0, 0))
        moved = build.apply(ops.Pad(inner), image) if (top % 2, left % 2) != (0, 0) else image
        pooled = build.pool(pool, moved, (2, 2), (2, 2))
        ends = [8 - at // 2 - size for at, size in zip((top, left), pooled.shape[1:3], strict=True)]
        outer = ((0, 0), (top // 2, ends[0]), (left // 2, ends[1]), (0, 0))
        placed = build.apply(ops.Pad(outer), pooled)
        total = placed if total is None else build.apply(ops.Add(), total, placed)
    assert total is not None
    return build.classify(total)


def test_copies_on_a_grid_are_pooled_once() -> None:
    graph = copies([(0, 0), (0, 9), (9, 0), (9, 9)])
    once = pool_copies_once(graph)
    assert sum(isinstance(node.op, ops.AveragePool2D) for node in once.nodes) == 1
    assert len(once.nodes) < len(graph.nodes)
    images = pixels(graph, 5)
    np.testing.assert_array_equal(run(once, [images])[0], run(graph, [images])[0])


@pytest.mark.parametrize(
    "graph",
    [
        copies([(0, 0), (9, 9)]),
        copies([(0, 0), (0, 9), (9, 0), (9, 9)], ops.MaxPool2D),
    ],
    ids=["no grid", "maxima"],
)
def test_other_sums_stay_as_they_are(graph: Graph) -> None:
    assert pool_copies_once(graph) is graph
