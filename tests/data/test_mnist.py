from __future__ import annotations

import gzip
import hashlib
import shutil
import struct

import numpy as np
import pytest

from edgegolf.data import mnist
from edgegolf.data.dataset import DatasetUnavailableError
from edgegolf.errors import EdgegolfError

TEST_FILES = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.fixture
def folder(nowhere, monkeypatch, tmp_path):
    """An empty $EDGEGOLF_DATA/mnist."""
    monkeypatch.setenv("EDGEGOLF_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    return tmp_path / "data" / "mnist"


def write_all(folder):
    """Four files that are there, but empty."""
    for file in mnist.FILES:
        (folder / file.name).touch()


def test_the_images_and_labels_are_mnists(real_mnist):
    dataset = mnist.find()
    test = dataset.split("test")
    assert (test.images.shape, test.images.dtype) == ((10_000, 28, 28, 1), np.uint8)
    assert test.labels.dtype == np.int64
    # The MD5 that MNIST's uncompressed test images are known by, and the known class counts.
    header = struct.pack(">4I", 0x803, 10_000, 28, 28)
    digest = hashlib.md5(header + test.images.tobytes()).hexdigest()
    assert digest == "2646ac647ad5339dbf082846283269ea"
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(test.labels).tolist() == counts


def test_train_and_validation_part_the_training_images(real_mnist):
    dataset = mnist.find()
    train, validation = dataset.split("train"), dataset.split("validation")
    assert len(train.labels) == 55_000
    assert len(validation.labels) == 5_000
    counts = np.bincount(train.labels) + np.bincount(validation.labels)
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.abs(np.bincount(validation.labels) - counts / 12).max() <= 1
    # The two together are exactly the file: the same multiset of images.
    raw = gzip.decompress((real_mnist / "train-images-idx3-ubyte.gz").read_bytes())[16:]
    rows = np.frombuffer(raw, "V784")
    ours = np.concatenate([train.images, validation.images]).reshape(-1).view("V784")
    assert sorted(map(hash, map(bytes, ours))) == sorted(map(hash, map(bytes, rows)))
    # And never others: the split is part of every published figure.
    digest = hashlib.sha256(validation.images.tobytes()).hexdigest()
    assert digest == "07c1e04491bff90e86053ccbaf5230b2f39047930c591fea5660204476993ec1"


def test_the_test_split_opens_only_the_test_files(real_mnist, folder):
    write_all(folder)  # the training files are broken
    for name in TEST_FILES:
        (folder / name).unlink()
        shutil.copy(real_mnist / f"{name}.gz", folder)
    dataset = mnist.find()
    assert len(dataset.split("test").labels) == 10_000
    with pytest.raises(EdgegolfError, match="train-images-idx3-ubyte is empty"):
        dataset.split("train")


def test_uncompressed_files_give_the_same(real_mnist, folder):
    write_all(folder)
    for name in TEST_FILES:
        packed = (real_mnist / f"{name}.gz").read_bytes()
        (folder / name).write_bytes(gzip.decompress(packed))
    compressed = mnist._open(real_mnist).split("test")
    plain = mnist.find().split("test")
    np.testing.assert_array_equal(plain.images, compressed.images)
    np.testing.assert_array_equal(plain.labels, compressed.labels)


def labels(count, values=(0,), magic=0x801):
    return struct.pack(">2I", magic, count) + bytes(values) * (count // len(values))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (labels(10_000)[:-1], "is truncated"),
        (labels(9_999), "9999 bytes, MNIST's has 10000"),
        (labels(10_000) + b"\0", "more than the 10,008 bytes"),
        (labels(9_000) + b"\0", "bytes left over"),
        (labels(10_000, magic=0x803), "bytes left over"),
        (labels(10_000, magic=0x1234), "not an IDX file"),
        (labels(10_000, values=(3, 10)), "the label 10"),
        (labels(10_000, values=(3, 7)), "is not MNIST's"),
        (gzip.compress(labels(10_000), mtime=0)[:-9], "damaged gzip"),
        (gzip.compress(bytes(10_000_000), mtime=0), "more than the 10,008 bytes"),
    ],
)
def test_a_wrong_file_is_one_clear_line(folder, content, reason):
    path = folder / mnist.TEST_LABELS.name
    path.write_bytes(content)
    with pytest.raises(EdgegolfError, match=reason) as caught:
        mnist._read(path, mnist.TEST_LABELS)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_a_folder_with_some_of_the_files_says_which_are_missing(folder):
    write_all(folder)
    (folder / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(EdgegolfError, match="lacks train-labels-idx1-ubyte"):
        mnist.find()


def test_a_download_fills_the_cache(real_mnist, nowhere, mirror, down):
    mirror.files = {path.name: path.read_bytes() for path in real_mnist.glob("*.gz")}
    mirror.cut_after = [3_000_000]
    dataset = mnist.fetch((down, mirror.url))
    assert dataset.location == str(nowhere)
    assert len(dataset.split("test").labels) == 10_000
    assert ("train-images-idx3-ubyte.gz", 3_000_000) in mirror.requests
    requests = len(mirror.requests)
    assert mnist.fetch((down, mirror.url)) == mnist.find() == dataset
    assert len(mirror.requests) == requests


def test_a_mirror_with_another_data_set_is_not_believed(nowhere, mirror):
    mirror.files = {f"{file.name}.gz": gzip.compress(b"Fashion") for file in mnist.FILES}
    with pytest.raises(DatasetUnavailableError, match="not an IDX file") as caught:
        mnist.fetch((mirror.url,))
    assert "EDGEGOLF_DATA" in caught.value.hint
    assert list(nowhere.iterdir()) == []


def test_a_failed_download_is_not_tried_again_in_the_process(nowhere, mirror):
    for _ in range(3):
        with pytest.raises(DatasetUnavailableError, match="404"):
            mnist.fetch((mirror.url,))
    assert len(mirror.requests) == 1
