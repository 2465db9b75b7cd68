"""Ticks, labels and places: whatever the data are, nothing overlaps."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegolf.report.page_layout import (
    axis,
    number,
    place_labels,
    printable,
    short,
    spread,
    text_width,
    treemap,
)

SIZE = 12.0
VALUES = st.lists(st.floats(1e-2, 1e9), min_size=1, max_size=20)


@given(VALUES, st.sampled_from([True, False]), st.sampled_from([220.0, 400.0, 820.0]))
def test_ticks_are_where_the_values_are_and_labels_have_room(
    values: list[float], upright: bool, pixels: float
) -> None:
    found = axis("bytes", values, pixels, SIZE, upright=upright)
    assert all(0 <= found.at(value) <= pixels for value in [*values, *found.ticks])
    assert 2 <= len(found.ticks) <= 9
    for one, other in itertools.pairwise(found.ticks):
        needed = (
            SIZE if upright else (text_width(number(one), 12) + text_width(number(other), 12)) / 2
        )
        assert found.at(other) - found.at(one) >= needed


@given(st.floats(2, 80), st.floats(1.05, 1.5))
def test_a_narrow_range_has_as_many_ticks_as_a_wide_one(low: float, ratio: float) -> None:
    """CIFAR-10's errors lie between 7 and 9 %: between two powers of ten."""
    assert len(axis("errors, %", [low, low * ratio], 340, SIZE, upright=True).ticks) >= 3


@given(st.lists(st.integers(1, 400), min_size=1, max_size=20))
def test_linear_axes_too(epochs: list[int]) -> None:
    found = axis("epoch", epochs, 500, SIZE, logarithmic=False)
    assert len(found.ticks) >= 2
    assert all(0 <= found.at(value) <= 500 for value in [*epochs, *found.ticks])


def test_preferred_ticks_stand_if_there_is_room() -> None:
    assert axis("iterations", [1, 32], 300, SIZE, ticks=[1, 2, 4, 32]).ticks == (1, 2, 4, 32)
    assert len(axis("iterations", range(1, 99), 300, SIZE, ticks=range(1, 99)).ticks) <= 9


SPOTS = st.tuples(st.floats(0, 600), st.floats(0, 300))


@given(st.lists(SPOTS, min_size=1, max_size=30))
def test_labels_cover_neither_each_other_nor_a_point(spots: list[tuple[float, float]]) -> None:
    wanted = [(*spot, f"net number {n}") for n, spot in enumerate(spots)]
    labels = place_labels(wanted, spots, 600, 300, SIZE)
    assert labels == place_labels(wanted, spots, 600, 300, SIZE)
    boxes = []
    for label in labels:
        wide = text_width(label.text, SIZE)
        left = label.x - {"left": 0.0, "center": wide / 2, "right": wide}[label.align]
        boxes.append((left, label.y - SIZE / 2, left + wide, label.y + SIZE / 2))
        assert left >= -0.01
        assert left + wide <= 600.01
    for one, other in itertools.combinations(boxes, 2):
        apart_x = one[2] <= other[0] or other[2] <= one[0]
        assert apart_x or one[3] <= other[1] or other[3] <= one[1]
    for left, top, right, bottom in boxes:
        assert not any(left < x < right and top < y < bottom for x, y in spots)


def test_a_lonely_point_has_its_label_beside_it() -> None:
    (label,) = place_labels([(100, 100, "net")], [(100, 100)], 600, 300, SIZE)
    assert (label.align, label.y, label.leader) == ("left", 100, False)


@given(st.lists(st.floats(0, 300), min_size=1, max_size=20))
def test_labels_of_lines_are_apart_and_in_the_order_of_their_lines(places: list[float]) -> None:
    found = spread(places, 14, 300)
    assert all(-1e-6 <= place <= 300 + 1e-6 for place in found)
    ordered = [found[index] for index in sorted(range(len(places)), key=places.__getitem__)]
    gaps = [after - before for before, after in itertools.pairwise(ordered)]
    assert all(gap >= 14 - 1e-6 for gap in gaps)


def test_names_of_strangers_are_cut_and_printable() -> None:
    assert printable("a\x00b\x1b[1m\ud800\ufffe") == "a\ufffdb\ufffd[1m\ufffd\ufffd"
    assert len(short("x" * 1000)) == 28
    assert short("x" * 28) == "x" * 28


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=40))
def test_areas_are_proportional_and_cover_the_rectangle(sizes: list[int]) -> None:
    sizes = sorted(sizes, reverse=True)
    rectangles = treemap(sizes, (0, 0, 10, 6))
    assert len(rectangles) == len(sizes)
    for size, (left, top, width, height) in zip(sizes, rectangles, strict=True):
        assert width * height == pytest.approx(60 * size / sum(sizes), rel=1e-3, abs=1e-6)
        assert -1e-6 <= left <= left + width <= 10 + 1e-6
        assert -1e-6 <= top <= top + height <= 6 + 1e-6
