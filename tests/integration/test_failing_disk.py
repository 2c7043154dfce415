"""Every sync, rename and write of a folder fails once.

Afterwards what was there is there, or the error names a file and the same call
works once the disk does.
"""

import builtins
import contextlib
import dataclasses
import errno
import json
import os
import pathlib
import types

import numpy as np
import pytest

from realm_tf import _manifest, _replacement
from realm_tf.checkpoints import presets
from realm_tf.data.corpus.blocks import Article, Block
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.options import ExportOptions
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.serving.bundle import QUERY_EMBEDDER, read_bundle
from realm_tf.serving.export import exporter, saved_model

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
    num_wordpieces: int = 6

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


def build(path, corpus, **options):
    rows = np.eye(4, dtype=np.float32)[np.arange(corpus.num_blocks) % 4]
    return BlockIndex.build(
        path, corpus, rows, embedder_fingerprint="e" * 64, **options
    )


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


@pytest.fixture
def real_index(tmp_path, featurizer):
    """Of a corpus on the disk, with a document that must never be lost."""
    articles = [Article(f"{n}", "the", f"It is {n}.") for n in range(6)]
    corpus = build_corpus(articles, tmp_path / "corpus", featurizer)
    index = build(tmp_path / "index", corpus, analyzer=None)
    acknowledged(index)
    return index


def check_answers(corpus_path, index_path):
    opened = BlockIndex.open(index_path, Corpus.open(corpus_path))
    assert "kept" in documents(opened)


def save_preset(path, featurizer, index, number=0):
    parts = presets.Parts(featurizer, options={"number": number})
    presets.save(
        path, parts, index, embedder_fingerprint="e" * 64, overwrite=True
    )


def test_a_preset_with_an_index(tmp_path, featurizer, real_index, monkeypatch):
    path = tmp_path / "presets" / "preset"
    numbers = [0]

    def work():
        numbers.append(numbers[-1] + 1)
        save_preset(path, featurizer, real_index, numbers[-1])

    def check():
        _manifest.read_manifest(path, "preset")
        config = json.loads((path / "config.json").read_text())
        assert config["options"]["number"] in numbers[-2:]
        check_answers(path / "corpus", path / "index")

    def recover():
        work()
        check_tidy(path.parent)

    work()
    assert attacked(monkeypatch, work, check, recover) > 80


@pytest.fixture
def few_models(featurizer, monkeypatch):
    """`export` without TensorFlow: parts, and a model of three files."""

    def save(module, target, signatures):
        for name in ("saved_model.pb", "variables/variables.index", "other"):
            file = pathlib.Path(target, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            with open(file, "wb") as opened:
                opened.write(b"model")

    class OneModel:
        def __init__(self, *arguments):
            pass

        @contextlib.contextmanager
        def module(self, name):
            yield types.SimpleNamespace(signatures={})

        def requests(self, name):
            return []

    names = {"embedder": "e" * 64, "reader": "r" * 64}
    names["tokenizer"] = featurizer.fingerprint
    monkeypatch.setattr(exporter, "_fingerprints", lambda parts: names)
    monkeypatch.setattr(exporter, "ModuleBuilder", OneModel)
    monkeypatch.setattr(saved_model.tf.saved_model, "save", save)
    monkeypatch.setattr(saved_model, "check_saved_model", lambda *_, **__: [])
    monkeypatch.setattr(
        exporter,
        "TextEmbedder",
        lambda *_: types.SimpleNamespace(blocks=lambda blocks: None),
    )
    options = {"num_read": 1, "lexical_weight": 0.0, "projection_fitted": True}
    return types.SimpleNamespace(
        featurizer=featurizer,
        options=options,
        calibration=None,
        reader=types.SimpleNamespace(max_span_width=10),
        block_embedder=types.SimpleNamespace(embedding_dim=4),
    )


@pytest.mark.parametrize("is_first", [True, False])
def test_an_export(tmp_path, few_models, real_index, monkeypatch, is_first):
    """The first one of a bundle, or one that follows another."""
    folders = [tmp_path / "bundle-0"]
    options = ExportOptions(models=(QUERY_EMBEDDER,))

    def work():
        exporter.export(few_models, real_index, folders[-1], options)

    def check(is_there=not is_first):
        bundle_file = folders[-1] / "bundle.json"
        if bundle_file.exists() or is_there:
            bundle = read_bundle(folders[-1])
            path = bundle.model_path(QUERY_EMBEDDER)
            _manifest.read_manifest(path, saved_model.KIND)
            check_answers(bundle.corpus_path, bundle.index_path)
            assert bundle.vocabulary_path.read_text().endswith("\n")

    def recover():
        work()
        check(is_there=True)
        assert not list(folders[-1].glob("**/.*writing*"))
        if is_first:
            folders.append(tmp_path / f"bundle-{len(folders)}")

    if not is_first:
        work()
    assert attacked(monkeypatch, work, check, recover) > 50


def test_every_file_of_a_preset_is_on_the_disk(
    tmp_path, featurizer, real_index, monkeypatch
):
    synced, fsync = set(), os.fsync

    def record(descriptor):
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    path = tmp_path / "preset"
    save_preset(path, featurizer, real_index)
    for entry in [path, *path.rglob("*")]:
        assert entry.stat().st_ino in synced, entry


@pytest.mark.parametrize("name", ["corpus", "index/v000001"])
def test_what_was_damaged_on_the_disk_is_not_copied(
    tmp_path, featurizer, few_models, real_index, name
):
    (file,) = (tmp_path / name).glob("*-of-00001*")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match=f"{file.name} must hold|{name} must"):
        save_preset(tmp_path / "preset", featurizer, real_index)
    assert not (tmp_path / "preset").exists()
    options = ExportOptions(models=(QUERY_EMBEDDER,))
    with pytest.raises(ValueError, match=f"{file.name} must hold|{name} must"):
        exporter.export(few_models, real_index, tmp_path / "bundle", options)
    assert not (tmp_path / "bundle" / "bundle.json").exists()


def test_another_corpus_in_its_place_is_not_copied(
    tmp_path, featurizer, real_index
):
    articles = [Article(f"{n}", "the", f"It was {n}.") for n in range(6)]
    path = tmp_path / "corpus"
    path.rename(tmp_path / "former")
    build_corpus(articles, path, featurizer)
    with pytest.raises(ValueError, match="must be the corpus that is open"):
        save_preset(tmp_path / "preset", featurizer, real_index)


def test_a_full_disk_is_said_of_a_preset_with_an_index(
    tmp_path, featurizer, real_index, monkeypatch
):
    def fail(source, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr("shutil.copyfile", fail)
    with pytest.raises(OSError, match="preset does not fit on the disk"):
        save_preset(tmp_path / "preset", featurizer, real_index)
    assert not (tmp_path / "preset").exists()


def check_tidy(folder):
    hidden = [name for name in os.listdir(folder) if name[0] == "."]
    assert hidden == []


def _remove(path: pathlib.Path):
    for file in path.iterdir():
        file.unlink()
    path.rmdir()
