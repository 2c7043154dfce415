"""Every sync, rename and write of a folder fails once.

Afterwards what was there is there, or the error names a file and the same call
works once the disk does.
"""

import builtins
import dataclasses
import errno
import os
import pathlib

import numpy as np
import pytest

from realm_tf import _manifest, _replacement
from realm_tf.data.corpus.blocks import Article, Block
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.retrieval.index.block_index import BlockIndex

CALLS = [
    "fsync",
    "replace",
    "rename",
    "exchange",
    "mkdir",
    "link",
    "pwrite",
    "write",
]


class FailingDisk:
    """Fails the call of a kind with a number, before or after it is made."""

    def __init__(self, monkeypatch):
        self._patch = monkeypatch
        self.calls = 0

    def fail(self, name, number, is_late):
        self.calls = 0
        if name == "write":
            self._fail_writes(number)
            return
        owner = _replacement if name == "exchange" else os
        function = getattr(owner, name)

        def failing(*arguments, **keywords):
            self.calls += 1
            if self.calls == number:
                if is_late:
                    function(*arguments, **keywords)
                has_name = name not in ("fsync", "pwrite")
                self._raise(str(arguments[0]) if has_name else None)
            return function(*arguments, **keywords)

        self._patch.setattr(owner, name, failing)

    def _fail_writes(self, number):
        opener = builtins.open

        def opening(file, mode="r", *arguments, **keywords):
            opened = opener(file, mode, *arguments, **keywords)
            if "w" not in mode:
                return opened
            self.calls += 1
            if self.calls == number:
                opened.write("ha" if "b" not in mode else b"ha")
                opened.close()
                self._raise(str(file))
            return opened

        self._patch.setattr(builtins, "open", opening)
        self._patch.setattr("io.open", opening)

    @staticmethod
    def _raise(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)


def attacked(monkeypatch, work, check, recover):
    """Lets every call of `work` fail in turn; returns how many there were."""
    total = 0
    for name in CALLS:
        for is_late in (False, True):
            number = 1
            while True:
                with monkeypatch.context() as patch:
                    disk = FailingDisk(patch)
                    disk.fail(name, number, is_late)
                    try:
                        work()
                    except (OSError, ValueError, RuntimeError) as error:
                        assert "/" in str(error), error  # names a file
                    is_over = disk.calls < number
                check()
                recover()
                if is_over:
                    break
                total += 1
                number += 1
    return total


@dataclasses.dataclass
class FewBlocks:
    """What an index needs of a corpus."""

    fingerprint: str = "c" * 64
    tokenizer_fingerprint: str = "t" * 64
    num_blocks: int = 6

    def __iter__(self):
        return iter(self.blocks(range(self.num_blocks)))

    def blocks(self, block_ids):
        return [Block("text", document_id=f"doc-{n}") for n in block_ids]

    def find_document(self, document_id):
        names = [f"doc-{n}" for n in range(self.num_blocks)]
        return np.flatnonzero(np.array(names) == document_id)


@pytest.fixture
def corpus():
    return FewBlocks()


@pytest.fixture
def index(tmp_path, corpus):
    return build(tmp_path / "index", corpus)


def build(path, corpus):
    rows = np.eye(4, dtype=np.float32)[np.arange(corpus.num_blocks) % 4]
    return BlockIndex.build(path, corpus, rows, embedder_fingerprint="e" * 64)


def acknowledged(index):
    """Adds a document that must never be lost, and its name."""
    index.add([Block("text", document_id="kept")], np.ones((1, 4)))
    return "kept"


def documents(index):
    ids = index.live_block_ids()
    return {block.document_id for block in index.blocks(ids)}


def test_updates_of_an_index(index, corpus, monkeypatch):
    kept = {acknowledged(index)}
    names = iter(range(10_000))

    def add():
        name = f"new-{next(names)}"
        index.add([Block("text", document_id=name)], np.ones((1, 4)))
        kept.add(name)

    def check():
        opened = BlockIndex.open(index.path, corpus)
        assert kept <= documents(opened)
        index.search(np.ones((1, 4)), 1)
        assert documents(index) == documents(opened)

    # Two syncs and two writes, each before and after.
    assert attacked(monkeypatch, add, check, add) >= 8


@pytest.mark.parametrize("what", ["build", "roll_back"])
def test_versions_of_an_index(index, corpus, monkeypatch, what):
    other = FewBlocks("d" * 64)  # or the updates would have to be kept
    acknowledged(index)

    def work():
        if what == "build":
            build(index.path, other)
        else:
            BlockIndex.roll_back(index.path, newest_of(corpus).version)

    def newest_of(corpus):
        for version in range(1_000, 0, -1):
            folder = index.path / f"v{version:06}" / "manifest.json"
            if folder.exists():
                manifest = _manifest.read_manifest(folder.parent, "index")
                if manifest.fingerprints["corpus"] == corpus.fingerprint:
                    return BlockIndex.open(index.path, corpus, version=version)
        raise AssertionError

    def check():
        assert "kept" in documents(newest_of(corpus))

    def recover():
        BlockIndex.roll_back(index.path, newest_of(corpus).version)

    assert attacked(monkeypatch, work, check, recover) > 15


def test_a_corpus(tmp_path, featurizer, monkeypatch):
    from realm_tf.data.corpus.corpus_builder import build_corpus

    articles = [Article("1", "the", "It is."), Article("2", "the", "It was.")]
    path = tmp_path / "new"
    want = build_corpus(articles, tmp_path / "want", featurizer).fingerprint

    def work():
        build_corpus(articles, path, featurizer)

    def check():
        if path.exists():
            assert Corpus.open(path).fingerprint == want

    def recover():
        if not path.exists():
            work()
        _remove(path)
        check_tidy(tmp_path)

    assert attacked(monkeypatch, work, check, recover) > 15


@pytest.mark.parametrize("way", ["exchange", "two renames"])
def test_a_folder_that_is_overwritten(tmp_path, monkeypatch, way):
    if way == "two renames":
        monkeypatch.setattr(_replacement, "exchange", lambda *_: False)
    path = tmp_path / "preset"
    texts = ["0"]

    def work():
        texts.append(f"{len(texts)}")
        with _manifest.write_folder(path, "preset", overwrite=True) as writer:
            (writer.path / "a").write_text(texts[-1])
            (writer.path / "b").write_text(texts[-1])

    def check():
        _manifest.read_manifest(path, "preset")
        one, other = (path / "a").read_text(), (path / "b").read_text()
        assert one == other and one in texts[-2:]

    def recover():
        work()
        check_tidy(tmp_path)

    work()
    assert attacked(monkeypatch, work, check, recover) > 15


def check_tidy(folder):
    hidden = [name for name in os.listdir(folder) if name[0] == "."]
    assert hidden == []


def _remove(path: pathlib.Path):
    for file in path.iterdir():
        file.unlink()
    path.rmdir()
