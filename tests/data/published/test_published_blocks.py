import gzip
import importlib.util
import os
import pathlib
import pickle

import numpy as np
import pytest

from realm_tf.data.published.published_blocks import (
    open_block_records,
    read_tfrecords,
)
from realm_tf.errors import UnsafePickleError

_PATH = pathlib.Path(__file__).parents[2] / "fixtures/miniature_release.py"


@pytest.fixture(scope="session")
def release():
    spec = importlib.util.spec_from_file_location("miniature_release", _PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_an_object_array_is_read_in_order(release, tmp_path):
    records = open_block_records(
        release.write_block_records(tmp_path / "a.npy")
    )
    assert records.num_records == len(release.BLOCKS)
    assert not records.has_titles
    assert [(r.text, r.title) for r in records] == [
        (text, "") for _, text in release.BLOCKS
    ]


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("module", ["numpy.core", "numpy._core"])
def test_arrays_of_numpy_1_and_2_are_read(tmp_path, protocol, module):
    array = np.empty(4, object)
    array[:] = [b"one", b"", "zwei \u00fc".encode(), b"one"]
    content = pickle.dumps(array, protocol)
    # What the other version of NumPy would have written.
    for old in (b"numpy._core", b"numpy.core"):
        if old != module.encode() and protocol < 4:
            content = content.replace(b"c" + old, b"c" + module.encode())
    path = tmp_path / "a.npy"
    with open(path, "wb") as file:
        header = {"descr": "|O", "fortran_order": False, "shape": (4,)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(content)
    texts = [record.text for record in open_block_records(path)]
    assert texts == ["one", "", "zwei ü", "one"]


def test_a_malicious_array_is_never_executed(tmp_path):
    array = np.empty(2, object)
    array[:] = [b"text", Malicious(tmp_path / "ran")]
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(UnsafePickleError, match="system, which was not run"):
        list(open_block_records(tmp_path / "a.npy"))
    assert not (tmp_path / "ran").exists()


def test_items_that_are_no_bytes_are_refused(tmp_path):
    array = np.empty(2, object)
    array[:] = [b"text", 3]
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(UnsafePickleError, match="an item of int"):
        list(open_block_records(tmp_path / "a.npy"))


def test_another_array_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(UnsafePickleError, match="an array of float64"):
        open_block_records(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_bytes(b"something")
    with pytest.raises(UnsafePickleError, match="NumPy array of byte strings"):
        open_block_records(tmp_path / "a.npy")


def test_every_cut_of_an_array_is_refused(release, tmp_path):
    path = release.write_block_records(tmp_path / "a.npy")
    data = path.read_bytes()
    for end in range(128, len(data), 97):
        path.write_bytes(data[:end])
        with pytest.raises(UnsafePickleError):
            list(open_block_records(path))


def test_the_files_of_orqa_are_read_together(release, tmp_path):
    folder = release.write_records(
        tmp_path, tokenize=lambda t: [7] * len(t.split())
    )
    records = open_block_records(folder)
    assert [path.name for path in records.paths] == [
        "blocks.tfr",
        "titles.tfr",
        "examples.tfr",
    ]
    found = list(records)
    assert [(r.title, r.text) for r in found] == list(release.BLOCKS)
    second = found[1]
    assert second.num_tokens == len(release.BLOCKS[1][1].split())
    assert second.sentence_tokens == (0, 6)


def test_files_of_other_lengths_are_refused(release, tmp_path):
    release.write_records(tmp_path / "a")
    release.write_records(tmp_path / "b", release.BLOCKS[:-1])
    (tmp_path / "b/titles.tfr").rename(tmp_path / "a/titles.tfr")
    with pytest.raises(ValueError, match="titles.tfr ends after 11 records"):
        list(open_block_records(tmp_path / "a"))


def test_shards_of_a_retrieval_corpus_are_read_in_order(release, tmp_path):
    records = open_block_records(release.write_retrieval_corpus(tmp_path))
    assert [(r.title, r.text) for r in records] == list(release.BLOCKS)


def test_a_missing_shard_is_named(release, tmp_path):
    folder = release.write_retrieval_corpus(tmp_path)
    next(folder.glob("*00001-of*")).unlink()
    with pytest.raises(ValueError, match=r"2 of 3 .* without \[1\]"):
        open_block_records(folder)


def test_other_examples_are_refused(release, tmp_path):
    release.write_records(tmp_path, tokenize=lambda t: [7] * len(t.split()))
    (tmp_path / "x").mkdir()
    (tmp_path / "examples.tfr").rename(tmp_path / "x/x-00000-of-00001")
    with pytest.raises(ValueError, match="must have title and body"):
        list(open_block_records(tmp_path / "x"))


def test_a_damaged_record_is_numbered(release, tmp_path):
    path = release.write_records(tmp_path) / "blocks.tfr"
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="record 11 is damaged"):
        list(read_tfrecords(path))
    path.write_bytes(gzip.compress(bytes(data))[:-20])
    with pytest.raises(ValueError, match="is damaged after"):
        list(read_tfrecords(path))


def test_a_folder_without_blocks_is_refused(tmp_path):
    with pytest.raises(ValueError, match="which holds none of them"):
        open_block_records(tmp_path)
