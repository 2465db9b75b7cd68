from __future__ import annotations

from dataclasses import replace

import pytest

from edgegolf.report.frontier import Contender, level, levels_table

FILE = Contender("a_net", "int8.onnx", 2000, (0.9925,), 0.9925, 10_000)


def test_the_cheapest_that_holds_an_accuracy_is_found_beside_the_published() -> None:
    # One file of 99.05 % may be luck, three with this mean are none.
    lucky = replace(FILE, cost=1000, accuracies=(0.9905,), kept=0.9905)
    three = replace(FILE, cost=1500, accuracies=(0.9895, 0.9905, 0.9902), kept=0.9895)
    found = level("mnist", 0.99, [FILE, lucky, three])
    assert (found.ours, found.by) == (three, "mean of 3 seeds")
    assert level("mnist", 0.99, [FILE, lucky]).ours is FILE
    assert level("mnist", 0.999, [FILE, lucky, three]).ours is None
    assert found.published is not None
    assert found.published.accuracy >= 0.99
    assert found.published.counted != "parameters"
    by_parameters = level("mnist", 0.99, [], "parameters").published
    assert by_parameters is not None
    assert by_parameters.counted == "parameters"


@pytest.mark.parametrize("markdown", [True, False])
def test_links_are_for_pages_only(markdown: bool) -> None:
    (row,) = levels_table([level("mnist", 0.99, [FILE])], markdown=markdown).rows
    assert any("](https://" in cell for cell in row) == markdown
