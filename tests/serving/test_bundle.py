import dataclasses
import json
import os

import pytest

from realm_tf._manifest import json_sha256
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.errors import FolderError
from realm_tf.serving import bundle as bundles
from realm_tf.serving.bundle import Bundle, read_bundle, write_bundle


@pytest.fixture
def bundle(tmp_path):
    written = Bundle(
        path=tmp_path,
        featurizer={"lowercase": True},
        num_read=5,
        num_answers=5,
        max_span_width=10,
        embedding_dim=128,
        embedder_fingerprint="a",
        reader_fingerprint="b",
        tokenizer_fingerprint="c",
        models={"realm_reader": 3},
        corpus="corpus",
    )
    write_bundle(written)
    return written


def change(bundle, **changes):
    """Changes bundle.json as someone would who can sign it."""
    file = bundle.path / bundles.BUNDLE_NAME
    content = json.loads(file.read_text()) | changes
    del content["sha256"]
    content["sha256"] = json_sha256(content)
    file.write_text(json.dumps(content))


def test_bundle_reads_as_it_was_written(bundle):
    read = read_bundle(str(bundle.path))
    assert read == bundle
    assert read.corpus_path == bundle.path / "corpus"
    assert read.index_path is None
    assert read.vocabulary_path == bundle.path / "vocabulary.txt"
    folder = bundle.path / "realm_reader" / "3"
    assert read.model_path("realm_reader") == folder
    with pytest.raises(FolderError, match="must hold the model 'realm_qa'"):
        read.model_path("realm_qa")


def test_write_replaces_the_file_and_leaves_nothing_else(bundle):
    write_bundle(bundle)
    assert [f.name for f in bundle.path.iterdir()] == ["bundle.json"]


def test_numbers_are_taken_whatever_is_under_them(tmp_path):
    folder = bundles.model_folder(tmp_path, "realm_qa")
    assert bundles.model_numbers(tmp_path, "realm_qa") == []
    for name in ("10", "2", "3", ".4.writing-1", "x"):
        (folder / name).mkdir(parents=True)
    assert bundles.model_numbers(tmp_path, "realm_qa") == [2, 3, 10]


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "corpus"},
        {"format_version": "1"},
        {"num_read": 0},
        {"num_answers": 2.0},
        {"reader_fingerprint": None},
        {"corpus": "../corpus"},
        {"corpus": ".hidden"},
        {"vocabulary": None},
        {"models": {"realm_reader": 0}},
        {"models": {"../x": 1}},
        {"models": []},
        {"featurizer": []},
        {"lexical_weight": "1"},
        {"lexical_weight": float("nan")},
        {"unknown": 1},
    ],
    ids=str,
)
def test_read_refuses_what_no_export_writes(bundle, changes):
    change(bundle, **changes)
    with pytest.raises(FolderError, match="what `realm-tf export` writes"):
        read_bundle(bundle.path)


def test_read_refuses_other_folders_and_newer_formats(bundle, tmp_path):
    with pytest.raises(FolderError, match="must be a folder with bundle.json"):
        read_bundle(tmp_path / "nothing")
    change(bundle, format_version=4)
    with pytest.raises(FolderError, match="Upgrade realm_tf"):
        read_bundle(bundle.path)
    file = bundle.path / bundles.BUNDLE_NAME
    for content in (b"{", b"[" * 10_000):
        file.write_bytes(content)
        with pytest.raises(FolderError, match="what `realm-tf export` writes"):
            read_bundle(bundle.path)
    file.write_bytes(b" " * (2**20 + 1))
    with pytest.raises(FolderError, match="at most 1048576 bytes"):
        read_bundle(bundle.path)


def test_flipped_bits_are_told(bundle):
    file = bundle.path / bundles.BUNDLE_NAME
    whole = file.read_bytes()
    for position in range(0, 8 * len(whole.rstrip()), 11):
        changed = bytearray(whole)
        changed[position // 8] ^= 1 << position % 8
        file.write_bytes(changed)
        try:
            read = read_bundle(bundle.path)
        except FolderError as error:
            assert str(file) in str(error)
        else:  # white space
            assert read == bundle


def test_a_bundle_of_the_former_format_is_read(bundle):
    file = bundle.path / bundles.BUNDLE_NAME
    content = json.loads(file.read_text()) | {"format_version": 1}
    del content["sha256"], content["lexical_weight"]
    file.write_text(json.dumps(content))
    assert read_bundle(bundle.path) == bundle


def test_the_weight_of_words_comes_back(bundle):
    own = dataclasses.replace(bundle, lexical_weight=0.7)
    bundles.write_bundle(own)
    assert read_bundle(bundle.path) == own


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "emma", "##s"]


def test_flipped_bits_of_the_vocabulary_are_told(bundle):
    own = dataclasses.replace(
        bundle, tokenizer_fingerprint=Featurizer(WORDS).fingerprint
    )
    whole = ("\n".join(WORDS) + "\n").encode()
    own.vocabulary_path.write_bytes(whole)
    assert own.open_featurizer().vocabulary == tuple(WORDS)
    for position in range(0, 8 * len(whole) - 8, 11):
        changed = bytearray(whole)
        changed[position // 8] ^= 1 << position % 8
        own.vocabulary_path.write_bytes(changed)
        with pytest.raises(FolderError, match="vocabulary.txt must hold"):
            own.open_featurizer()


def test_a_vocabulary_that_is_no_file_is_told(bundle):
    with pytest.raises(FolderError, match="vocabulary.txt must hold"):
        bundle.open_featurizer()
    os.mkfifo(bundle.vocabulary_path)
    with pytest.raises(FolderError, match="must be a regular file"):
        bundle.open_featurizer()
