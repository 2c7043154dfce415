import concurrent.futures
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from realm_tf import _files, _manifest
from realm_tf.data.corpus import corpus as corpus_module
from realm_tf.data.corpus import corpus_writer
from realm_tf.data.corpus.blocks import Article, split_into_blocks
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.errors import FolderError

DAMAGES = {
    "flipped": lambda data: bytes([*data[:-9], data[-9] ^ 1, *data[-8:]]),
    "cut to half": lambda data: data[: len(data) // 2],
    # The manifest's last line end says nothing.
    "cut by a byte": lambda data: data.removesuffix(b"\n")[:-1],
    "empty": lambda data: b"",
    "missing": None,
}


@pytest.fixture
def forge(corpus, tmp_path):
    """The same corpus under a manifest that says something else."""

    def forge(*, leave_out=(), **counts):
        path = tmp_path / "forged"
        manifest = corpus.manifest
        with _manifest.write_folder(path, "corpus") as folder:
            for name in set(manifest.files) - set(leave_out):
                shutil.copy(corpus.path / name, folder.path)
            folder.describe(
                counts={**manifest.counts, **counts},
                fingerprints=manifest.fingerprints,
            )
        return path

    return forge


def test_corpus_gives_the_blocks_back(corpus, articles, featurizer):
    expected = [
        block
        for article in articles
        for block in split_into_blocks(article, featurizer, max_wordpieces=32)
    ]
    assert len(corpus) == corpus.num_blocks == len(expected) > len(articles)
    found = list(corpus)
    assert [block.block_id for block in found] == list(range(len(corpus)))
    for one, other in zip(found, expected, strict=True):
        assert one.text == other.text
        assert one.title == other.title
        assert one.document_id == other.document_id
        assert one.sentence_starts == other.sentence_starts
        assert one.article_starts == other.article_starts
    assert corpus[3] == corpus[np.int64(3)] == found[3]
    assert corpus.tokenizer_fingerprint == featurizer.fingerprint


def test_blocks_come_in_the_order_of_their_ids(corpus):
    ids = [5, 0, len(corpus) - 1, 5]
    for given in (ids, np.array(ids, np.int32), tuple(ids)):
        assert [block.block_id for block in corpus.blocks(given)] == ids
    assert corpus.blocks([]) == []


def test_wordpieces_are_those_of_the_featurizer(corpus, featurizer):
    for block in corpus:
        tokens = featurizer.tokenize([block.text, block.title])
        token_ids = corpus.token_ids(block.block_id)
        assert token_ids.dtype == np.uint16
        np.testing.assert_array_equal(token_ids, tokens.row(0)[0])
        title_ids = corpus.title_ids(block.block_id)
        np.testing.assert_array_equal(title_ids, tokens.row(1)[0])


def test_large_vocabulary_is_stored_in_four_bytes(tmp_path):
    from realm_tf.data.text.featurizer import Featurizer

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    for size, dtype in ((65_535, np.uint16), (65_536, np.uint32)):
        words = special + [f"w{i}" for i in range(5, size)]
        corpus = build_corpus(
            [Article("1", "", words[-1])],
            tmp_path / str(size),
            Featurizer(words),
        )
        assert corpus.token_ids(0).tolist() == [size - 1]
        assert corpus.token_ids(0).dtype == dtype


def test_find_document_returns_its_blocks(corpus, articles):
    blocks = list(corpus)
    for article in articles:
        found = corpus.find_document(article.document_id)
        assert found.dtype == np.int64
        assert found.tolist() == [
            block.block_id
            for block in blocks
            if block.document_id == article.document_id
        ]
    assert corpus.find_document("unknown").tolist() == []
    assert corpus.find_document("").tolist() == []


@pytest.mark.parametrize("block_id", [-1, 10**12])
def test_unknown_block_is_an_index_error(corpus, block_id):
    match = f"from 0 to {len(corpus) - 1}. Received: block_id={block_id}"
    for read in (corpus.__getitem__, corpus.token_ids, corpus.title_ids):
        with pytest.raises(IndexError, match=match):
            read(block_id)


def test_shards_make_no_difference(articles, featurizer, tmp_path, monkeypatch):
    whole = list(build_corpus(articles, tmp_path / "whole", featurizer))
    for module in (corpus_writer, corpus_module):
        monkeypatch.setattr(module, "BLOCKS_PER_SHARD", 7)
    shards = build_corpus(articles, tmp_path / "shards", featurizer)
    assert len(list(shards.path.glob("blocks-*"))) == -(-len(shards) // 7)
    ids = [len(shards) - 1, 0, 8, 6, 7]
    assert shards.blocks(ids) == [whole[i] for i in ids]
    assert list(shards) == whole


def test_threads_read_the_same_blocks(corpus):
    expected = list(corpus)
    again = Corpus.open(corpus.path)

    def read(seed):
        ids = np.random.default_rng(seed).integers(0, len(corpus), 5)
        return again.blocks(ids) == [expected[i] for i in ids]

    with concurrent.futures.ThreadPoolExecutor(16) as executor:
        assert all(executor.map(read, range(200)))


def test_every_damage_to_every_file_is_refused(corpus, tmp_path):
    names = sorted([*corpus.manifest.files, _manifest.MANIFEST_NAME])
    assert len(names) == 7
    for name in names:
        for damage, change in DAMAGES.items():
            path = tmp_path / "damaged"
            shutil.copytree(corpus.path, path)
            data = (path / name).read_bytes()
            if change is None:
                (path / name).unlink()
            else:
                (path / name).write_bytes(change(data))
            with pytest.raises(FolderError) as caught:
                Corpus.open(path)
            assert name in str(caught.value), damage
            if damage != "flipped":
                with pytest.raises(FolderError):
                    Corpus.open(path, verify=False)
            shutil.rmtree(path)


def test_flipped_block_is_refused_when_read_unverified(corpus):
    [path] = corpus.path.glob("blocks-*")
    data = bytearray(path.read_bytes())
    start = data.index(b"\x28\xb5\x2f\xfd")  # of compressed records
    data[start + 20] ^= 255
    path.write_bytes(data)
    unverified = Corpus.open(corpus.path, verify=False)
    with pytest.raises(FolderError, match=r"blocks-00000.*rebuild it"):
        list(unverified)


@pytest.mark.parametrize(
    ("counts", "match"),
    [
        ({"num_blocks": 10**12}, r"row_splits\.npy.*shape \(1000000000001,\)"),
        ({"num_blocks": 0}, r"row_splits\.npy.*shape \(1,\)"),
        ({"num_blocks": 44}, r"row_splits\.npy.*shape \(45,\)"),
        (
            {"num_documents": 10**12},
            r"documents\.npy.*shape \(3, 1000000000000",
        ),
    ],
)
def test_counts_that_lie_are_refused(forge, counts, match):
    with pytest.raises(FolderError, match=match):
        Corpus.open(forge(**counts))


def test_files_that_are_not_listed_are_refused(forge, corpus):
    for name in corpus.manifest.files:
        path = forge(leave_out=[name])
        with pytest.raises(FolderError, match=name):
            Corpus.open(path)
        shutil.rmtree(path)


def test_objects_in_arrays_are_refused(forge):
    path = forge()
    with _manifest.write_folder(path, "corpus", overwrite=True) as folder:
        manifest = _manifest.read_manifest(path, "corpus")
        for name in manifest.files:
            shutil.copy(path / name, folder.path)
        np.save(folder.path / "token_ids.npy", np.array([{}], object))
        folder.describe(
            counts=manifest.counts, fingerprints=manifest.fingerprints
        )
    with pytest.raises(FolderError, match=r"token_ids\.npy must hold"):
        Corpus.open(path)


def test_newer_format_and_other_kind_are_refused(corpus):
    file = corpus.path / _manifest.MANIFEST_NAME
    content = json.loads(file.read_text())
    newer = {**content, "format_version": _manifest.FORMAT_VERSION + 1}
    file.write_text(json.dumps(newer))
    with pytest.raises(FolderError, match="Upgrade realm_tf"):
        Corpus.open(corpus.path)
    file.write_text(json.dumps({**content, "kind": "index"}))
    with pytest.raises(FolderError, match="kind='index'"):
        Corpus.open(corpus.path)


def test_link_out_of_the_folder_is_refused(corpus, tmp_path):
    name = "token_ids.npy"
    shutil.move(corpus.path / name, tmp_path / name)
    (corpus.path / name).symlink_to(tmp_path / name)
    with pytest.raises(FolderError, match="files of its own folder only"):
        Corpus.open(corpus.path)


def test_an_open_corpus_outlives_its_replacement(corpus, tmp_path, featurizer):
    other = build_corpus(
        [Article("x", "Other", "Other text.")], tmp_path / "other", featurizer
    )
    texts = [block.text for block in Corpus.open(corpus.path)]
    opened = Corpus.open(corpus.path)
    shutil.rmtree(corpus.path)
    shutil.copytree(other.path, corpus.path)
    assert [block.text for block in opened] == texts
    assert len(opened.token_ids(0)) > 0
    assert opened.find_document(opened[0].document_id).tolist()[0] == 0
    assert Corpus.open(corpus.path)[0].text == "Other text."


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("blocks-00000-of-00001.array_record", lambda c: c[0]),
        ("token_ids.npy", lambda c: c.token_ids(0)),
        ("row_splits.npy", lambda c: c.token_ids(0)),
        ("title_ids.npy", lambda c: c.title_ids(0)),
        ("title_row_splits.npy", lambda c: c.title_ids(0)),
        ("documents.npy", lambda c: c.find_document("1")),
    ],
)
@pytest.mark.parametrize("size", [0, 100, None])
def test_a_file_that_is_written_into_is_refused(
    corpus, monkeypatch, name, use, size
):
    """Also where the array stays on the disk: no SIGBUS."""
    monkeypatch.setattr(_files, "_SMALL_BYTES", 0)
    opened = Corpus.open(corpus.path)
    use(opened)
    data = (corpus.path / name).read_bytes()
    os.utime(corpus.path / name, (0, 0))  # clocks of disks are coarse
    with open(corpus.path / name, "r+b") as file:  # as rsync --inplace does
        file.write(data[:size])
        file.truncate()
    with pytest.raises(FolderError, match=f"{name} must not be changed"):
        use(opened)


def test_extra_file_is_ignored_with_a_warning(corpus, caplog):
    (corpus.path / "notes.txt").touch()
    assert len(Corpus.open(corpus.path)) == len(corpus)
    assert "notes.txt" in caplog.text


def test_moved_read_only_folder_works(corpus, tmp_path):
    path = tmp_path / "é ö" / "my corpus"
    path.parent.mkdir()
    expected = list(corpus)
    shutil.move(corpus.path, path)
    for file in path.iterdir():
        file.chmod(0o444)
    path.chmod(0o555)
    try:
        assert list(Corpus.open(path)) == expected
    finally:
        path.chmod(0o755)


def test_readers_need_no_tensorflow(corpus):
    code = (
        "import sys; from realm_tf.data.corpus.corpus import Corpus;"
        f"print(len(list(Corpus.open({os.fspath(corpus.path)!r}))),"
        "'tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(len(corpus)), "False"]


@pytest.mark.parametrize(
    ("row", "value"), [(1, 10**9), (1, 2**63 + 1), (2, 10**9), (2, 0)]
)
def test_damaged_table_of_documents_is_named(corpus, tmp_path, row, value):
    path = tmp_path / "damaged"
    shutil.copytree(corpus.path, path)
    table = np.load(path / "documents.npy")
    table[row] = value
    np.save(path / "documents.npy", table)
    damaged = Corpus.open(path, verify=False)
    with pytest.raises(FolderError, match="documents.npy must hold what a cor"):
        damaged.find_document(corpus[0].document_id)
