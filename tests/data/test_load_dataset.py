from __future__ import annotations

import sys

import numpy as np
import pytest

from edgegolf import records
from edgegolf.data import DatasetStatus, DatasetUnavailableError, list_datasets, load_dataset
from edgegolf.errors import EdgegolfError


def test_the_default_is_mnist_where_it_is(real_mnist, capsys):
    dataset = load_dataset()
    assert dataset == load_dataset("mnist")
    assert (dataset.name, dataset.image_shape, dataset.classes) == ("mnist", (28, 28, 1), 10)
    assert capsys.readouterr().err == ""


def test_the_default_falls_back_to_digits_and_says_so(nowhere, capsys):
    pytest.importorskip("sklearn")
    assert load_dataset().name == "digits"
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "digits" in line
    assert "EDGEGOLF_DATA" in line


def test_mnist_asked_for_by_name_is_never_replaced(nowhere):
    with pytest.raises(DatasetUnavailableError, match="MNIST is not on this machine") as caught:
        load_dataset("mnist")
    assert "EDGEGOLF_DATA" in caught.value.hint


def test_a_damaged_mnist_is_not_replaced_either(nowhere, monkeypatch, tmp_path):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").write_bytes(b"rubbish")
    monkeypatch.setenv("EDGEGOLF_DATA", str(tmp_path))
    with pytest.raises(EdgegolfError, match="lacks") as caught:
        load_dataset()
    assert not isinstance(caught.value, DatasetUnavailableError)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(EdgegolfError, match="no data set is called 'minst'") as caught:
        load_dataset("minst")
    assert "mnist" in caught.value.hint


def test_an_unknown_split_lists_the_known():
    pytest.importorskip("sklearn")
    with pytest.raises(EdgegolfError, match="no split 'dev'") as caught:
        load_dataset("digits").split("dev")
    assert "validation" in caught.value.hint


def test_the_list_tells_what_was_found_and_verified(real_mnist):
    mnist = list_datasets()[0]
    assert (mnist.name, mnist.found, mnist.verified, mnist.problem) == ("mnist", True, True, "")
    assert mnist.location.endswith("mnist")
    assert mnist.images == (55_000, 5_000, 10_000)
    assert records.from_json(records.to_json(mnist), DatasetStatus) == mnist


def test_the_list_tells_what_is_missing(nowhere):
    pytest.importorskip("sklearn")
    mnist, digits, *cifar = list_datasets()
    assert not any(status.found for status in (mnist, *cifar))
    assert not mnist.verified
    assert "EDGEGOLF_DATA" in mnist.how_to_get
    assert digits.verified


def test_the_list_tells_what_is_damaged(nowhere, monkeypatch, tmp_path):
    (tmp_path / "mnist").mkdir()
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / "mnist" / f"{name}-ubyte").write_bytes(b"rubbish")
    monkeypatch.setenv("EDGEGOLF_DATA", str(tmp_path))
    mnist = list_datasets()[0]
    assert mnist.found
    assert not mnist.verified
    assert "train-images" in mnist.problem


def test_without_scikit_learn_one_line_tells_both_ways_out(nowhere, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(EdgegolfError, match=r"MNIST is not .* 'sklearn'") as caught:
        load_dataset()
    assert "EDGEGOLF_DATA" in caught.value.hint
    assert "edgegolf[train]" in caught.value.hint
    assert not list_datasets()[1].found


def test_of_fewer_validation_images_the_others_are_trained_on(nowhere):
    pytest.importorskip("sklearn")
    whole = load_dataset("digits")
    parted = whole.with_validation_images(60)
    train, validation = (parted.split(name) for name in ("train", "validation"))
    before, all_validation = (whole.split(name) for name in ("train", "validation"))
    shares = np.bincount(all_validation.labels) / 3
    assert np.abs(np.bincount(validation.labels) - shares).max() <= 1
    assert len(validation.labels) == 60
    assert len(train.labels) == len(before.labels) + len(all_validation.labels) - 60
    np.testing.assert_array_equal(train.images[: len(before.images)], before.images)

    def content(*splits):
        return sorted(
            (image.tobytes(), int(label))
            for split in splits
            for image, label in zip(split.images, split.labels, strict=True)
        )

    assert content(train, validation) == content(before, all_validation)
    np.testing.assert_array_equal(parted.split("test").images, whole.split("test").images)


@pytest.mark.parametrize("count", [0, 180, 5000])
def test_all_validation_images_are_kept_unless_fewer_are_asked_for(nowhere, count):
    pytest.importorskip("sklearn")
    whole = load_dataset("digits")
    kept = whole.with_validation_images(count)
    for name in ("train", "validation"):
        np.testing.assert_array_equal(kept.split(name).labels, whole.split(name).labels)
