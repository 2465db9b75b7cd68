from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from edgegolf.data import cifar10, load_dataset
from edgegolf.data.dataset import DatasetUnavailableError
from edgegolf.errors import EdgegolfError

DATA = os.environ.get("EDGEGOLF_DATA")


def md5(data):
    return hashlib.md5(data).hexdigest()


@pytest.fixture(scope="module")
def contents():
    """Six files of the right size whose labels and pixels are known."""
    random = np.random.default_rng(0)
    found = {}
    for index, name in enumerate(cifar10.FILES):
        records = np.zeros((cifar10.RECORDS, cifar10.RECORD), np.uint8)
        records[:, 0] = random.permutation(cifar10.RECORDS) % 10
        records[:, 1] = index  # the top left pixel's red
        records[:, 1 + 1024 + 1] = 7  # the next pixel's green
        records[:, 1 + 2048 + 32] = 9  # the blue of the first in the second row
        found[name] = records.tobytes()
    return found


@pytest.fixture
def original(contents, nowhere, monkeypatch):
    """A world in which those six files are CIFAR-10."""
    version = cifar10.Version("cifar10", tuple(md5(data) for data in contents.values()))
    monkeypatch.setattr(cifar10, "ORIGINAL", version)
    return version


@pytest.fixture
def folder(original, contents, monkeypatch, tmp_path):
    """They are below $EDGEGOLF_DATA."""
    monkeypatch.setenv("EDGEGOLF_DATA", str(tmp_path))
    folder = tmp_path / cifar10.FOLDER
    folder.mkdir()
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return folder


def archive_of(contents, folder=cifar10.FOLDER, extra=()):
    stream = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for member in extra:
            archive.addfile(member)
        for name, data in contents.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


@pytest.fixture(scope="module")
def archive(contents):
    return archive_of(contents)


def test_records_are_label_then_planes(folder):
    dataset = cifar10.fetch()
    assert (dataset.image_shape, dataset.classes) == ((32, 32, 3), 10)
    test = dataset.split("test")
    assert (test.images.shape, test.images.dtype) == ((10_000, 32, 32, 3), np.uint8)
    raw = np.frombuffer((folder / "test_batch.bin").read_bytes(), np.uint8)
    np.testing.assert_array_equal(test.labels, raw[:: cifar10.RECORD])
    assert (test.images[:, 0, 0] == (5, 0, 0)).all()
    assert (test.images[:, 0, 1] == (0, 7, 0)).all()
    assert (test.images[:, 1, 0] == (0, 0, 9)).all()


def test_train_and_validation_part_the_training_images(folder):
    dataset = cifar10.fetch()
    train, validation = dataset.split("train"), dataset.split("validation")
    assert np.bincount(train.labels).tolist() == [4_500] * 10
    assert np.bincount(validation.labels).tolist() == [500] * 10
    files = np.bincount(train.images[:, 0, 0, 0]) + np.bincount(validation.images[:, 0, 0, 0])
    assert files.tolist() == [10_000] * 5


def test_the_test_split_opens_only_the_test_file(folder):
    for name in cifar10.TRAINING_FILES:
        (folder / name).write_bytes(b"rubbish")
    dataset = cifar10.fetch()
    assert len(dataset.split("test").labels) == 10_000
    with pytest.raises(EdgegolfError, match=r"data_batch_1.bin has 7 bytes, CIFAR-10's has 30,73"):
        dataset.split("train")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: b"", "is empty"),
        (lambda data: data[:-1], "has 30,729,999 bytes"),
        (lambda data: data + b"\0", "30,730,001 bytes, more than the 30,730,000 allowed"),
        (lambda data: b"\x0a" + data[1:], "the label 10"),
        (lambda data: data[:-1] + b"\x01", "is not CIFAR-10's"),
    ],
)
def test_a_wrong_file_is_one_clear_line(folder, change, reason):
    path = folder / "data_batch_3.bin"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(EdgegolfError, match=reason) as caught:
        cifar10.fetch().split("train")
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_a_folder_with_some_of_the_files_says_which_are_missing(folder):
    (folder / "data_batch_2.bin").unlink()
    with pytest.raises(EdgegolfError, match=r"lacks data_batch_2.bin"):
        cifar10.fetch()


def test_a_copy_is_told_by_its_checksum_and_never_taken_for_the_original(
    folder, contents, monkeypatch
):
    copy = cifar10.Version("cifar10-jpeg", tuple(md5(data) for data in contents.values()))
    monkeypatch.setattr(cifar10, "JPEG_COPY", copy)
    monkeypatch.setattr(cifar10, "ORIGINAL", cifar10.Version("cifar10", ("",) * 6))
    monkeypatch.setattr(cifar10, "_download_once", lambda *_: "no network")
    dataset = load_dataset("cifar10-jpeg")
    assert (dataset.name, dataset.checksum) == ("cifar10-jpeg", copy.checksum)
    with pytest.raises(DatasetUnavailableError, match="no network") as caught:
        cifar10.fetch()
    assert "cifar10-jpeg" in caught.value.hint


def test_a_download_fills_the_cache(original, archive, mirror, down, monkeypatch):
    monkeypatch.setattr(cifar10, "ARCHIVE_MD5", md5(archive))
    mirror.files = {cifar10.ARCHIVE: archive}
    mirror.cut_after = [100_000]
    dataset = cifar10.fetch((down, mirror.url))
    cache = cifar10.cache_folder(cifar10.FOLDER)
    assert dataset.location == str(cache)
    assert (cifar10.ARCHIVE, 100_000) in mirror.requests
    assert len(dataset.split("test").labels) == 10_000
    assert sorted(path.name for path in cache.iterdir()) == sorted(cifar10.FILES)
    assert [path.name for path in cache.parent.iterdir()] == [cifar10.FOLDER]
    requests = len(mirror.requests)
    assert cifar10.fetch((down, mirror.url)) == dataset
    assert len(mirror.requests) == requests


def test_another_archive_is_not_believed(original, archive, mirror):
    mirror.files = {cifar10.ARCHIVE: archive}  # its MD5 is not that of the data set's page
    with pytest.raises(DatasetUnavailableError, match="has MD5"):
        cifar10.fetch((mirror.url,))
    assert list(cifar10.cache_folder(cifar10.FOLDER).parent.iterdir()) == []


def test_of_an_archive_only_the_six_files_are_taken(original, contents, tmp_path):
    link = tarfile.TarInfo(f"{cifar10.FOLDER}/test_batch.bin")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    outside = tarfile.TarInfo("../outside.bin")
    path = tmp_path / "in.tar.gz"
    path.write_bytes(archive_of(contents, extra=[link, outside]))
    cifar10.unpack(path, tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(cifar10.FILES)
    assert not (tmp_path / "out" / "test_batch.bin").is_symlink()
    assert not (tmp_path / "outside.bin").exists()


def test_a_bad_archive_is_one_clear_line(original, contents, archive, tmp_path, monkeypatch):
    def refused(data):
        path = tmp_path / "in.tar.gz"
        path.write_bytes(data)
        with pytest.raises(EdgegolfError) as caught:
            cifar10.unpack(path, tmp_path / "out")
        return caught.value.message

    assert "is damaged" in refused(archive[:-1000])
    assert "is damaged" in refused(b"rubbish")
    first = dict(list(contents.items())[:1])
    assert "lacks data_batch_2.bin" in refused(archive_of(first))
    assert "lacks data_batch_1.bin" in refused(archive_of(first, folder="elsewhere"))
    wrong = {"data_batch_1.bin": contents["data_batch_2.bin"]}
    assert "is not CIFAR-10's" in refused(archive_of(wrong))
    monkeypatch.setattr(cifar10._Bounded, "MAXIMUM", 1_000_000)
    assert "unpacks to more than 1,000,000 bytes" in refused(archive_of(first))


@pytest.fixture(scope="session")
def real_cifar10(tmp_path_factory):
    """The folder of the JPEG copy; where only its archive is, it is unpacked, in 20 s."""
    given = Path(DATA or "nowhere")
    if (given / cifar10.FOLDER / cifar10.TEST_FILE).is_file():
        return given
    script = given / "cifar10" / "unpack.py"
    if not script.is_file():
        pytest.skip("EDGEGOLF_DATA holds no CIFAR-10 to test with")
    unpacked = tmp_path_factory.mktemp("cifar")
    subprocess.run([sys.executable, script, unpacked / cifar10.FOLDER], check=True)
    return unpacked


@pytest.mark.long
def test_the_real_images_are_recognised(real_cifar10, monkeypatch):
    monkeypatch.setenv("EDGEGOLF_DATA", str(real_cifar10))
    dataset = next(filter(None, map(cifar10.find, (cifar10.ORIGINAL, cifar10.JPEG_COPY))))
    test, validation = dataset.split("test"), dataset.split("validation")
    assert np.bincount(test.labels).tolist() == [1_000] * 10
    # The known means and deviations of CIFAR-10's pixels, which a JPEG keeps to within a percent.
    pixels = test.images / 255
    np.testing.assert_allclose(pixels.mean((0, 1, 2)), (0.494, 0.485, 0.450), atol=0.005)
    np.testing.assert_allclose(pixels.std((0, 1, 2)), (0.247, 0.243, 0.262), atol=0.005)
    if dataset.name == "cifar10-jpeg":
        # And never others: the split is part of every published figure.
        digest = hashlib.sha256(validation.images.tobytes()).hexdigest()
        assert digest == "ee0b06c037d5ebae74b19bb2e505c7afbe879c3ee48ee9bf4c5555933b4c88e3"
