"""Records survive JSON, and nothing else passes for one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegolf.cards import Card, FileFacts, SeedResult, read_card, write_card
from edgegolf.errors import EdgegolfError
from edgegolf.records import from_json, to_dict, to_json
from edgegolf.zoo import Recipe, all_names, all_recipes

FRACTIONS = st.floats(0, 1)
COUNTS = st.integers(0, 2**40)
SEED_RESULTS = st.builds(SeedResult, COUNTS, FRACTIONS, FRACTIONS, COUNTS, FRACTIONS)
FACTS = st.builds(FileFacts, COUNTS, st.text(), FRACTIONS, FRACTIONS, FRACTIONS)
CARDS = st.builds(
    Card,
    net=st.text(),
    dataset=st.text(),
    dataset_checksum=st.text(),
    parameters=COUNTS,
    trained_parameters=COUNTS,
    macs=COUNTS,
    recipe=st.dictionaries(st.text(), FRACTIONS | st.text() | st.booleans()),
    article_accuracy=st.none() | FRACTIONS,
    article_epochs=st.none() | COUNTS,
    seeds=st.lists(SEED_RESULTS).map(tuple),
    seed=COUNTS,
    model_sha256=st.text(),
    packages=st.dictionaries(st.text(), st.text()),
    commit=st.none() | st.text(),
    files=st.dictionaries(st.text(), FACTS),
)
CARD = Card(
    "linear", "mnist", "", 1, 1, 1, {}, None, None, (SeedResult(0, 1.0, 1.0, 1, 1.0),), 0, "", {},
    None,
)  # fmt: skip


@given(CARDS)
def test_records_survive_json(card: Card) -> None:
    assert from_json(to_json(card), Card) == card


@pytest.mark.parametrize("recipe", all_recipes(), ids=all_names())
def test_the_hyper_parameters_of_every_net_survive_json(recipe: Recipe) -> None:
    card = replace(CARD, recipe=recipe.training.to_dict())
    assert from_json(to_json(card), Card) == card


def test_schema_comes_first() -> None:
    assert next(iter(to_dict(CARD).items())) == ("schema", "edgegolf.card/1")


def test_card_is_read_where_it_was_written(tmp_path: Path) -> None:
    assert read_card(tmp_path) is None
    write_card(tmp_path, CARD)
    assert read_card(tmp_path) == CARD


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema": "edgegolf.card/2"}, "schema"),
        ({"seeds": 3}, "seeds"),
        ({"parameters": "many"}, "parameters"),
        ({"files": {"a.tflite": {}}}, "files"),
    ],
)
def test_wrong_fields_are_named(change: dict[str, object], reason: str) -> None:
    text = json.dumps(to_dict(CARD) | change)
    with pytest.raises(EdgegolfError, match=reason):
        from_json(text, Card, "card.json")


@given(st.binary(max_size=200))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(EdgegolfError):
        from_json(data, Card)


@pytest.mark.parametrize("seeds", ["x" * 900_000, [1] * 400_000, [{}] * 300_000])
def test_of_a_large_record_one_fault_is_told(seeds: object) -> None:
    """To tell all of them with their places would take minutes and gigabytes."""
    text = json.dumps(to_dict(CARD) | {"seeds": seeds})
    with pytest.raises(EdgegolfError, match=r"not a valid edgegolf\.card/1: .{1,100}$"):
        from_json(text, Card)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(EdgegolfError):
        from_json("[" * 100_000, Card)


@pytest.mark.parametrize(
    "number", ["NaN", "-Infinity", "1e999", "9" * 400, "9" * 5_000, "[" * 100_000]
)
def test_numbers_that_json_does_not_have_are_one_line(number: str) -> None:
    text = to_json(CARD).replace('"validation_accuracy": 1.0', f'"validation_accuracy": {number}')
    with pytest.raises(EdgegolfError, match="card is not JSON") as caught:
        from_json(text, Card, "card")
    assert caught.value.message.isprintable()
