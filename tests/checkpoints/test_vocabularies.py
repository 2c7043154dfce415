import types

import pytest

from realm_tf.checkpoints.vocabularies import open_featurizer
from realm_tf.errors import CheckpointError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "emma"]


def trunk(size=6, length=512):
    return types.SimpleNamespace(
        vocabulary_size=size, max_sequence_length=length
    )


def write(path, words=WORDS):
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(words) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["vocab.txt", "assets/vocab.txt"])
def test_lengths_are_the_published_ones(tmp_path, name):
    write(tmp_path / name)
    featurizer = open_featurizer(tmp_path, None, trunk())
    assert featurizer.vocabulary == tuple(WORDS)
    assert featurizer.get_config() == {
        "lowercase": True,
        "query_length": 64,
        "block_length": 288,
        "joint_length": 320,
        "joint_title": False,
    }


@pytest.mark.parametrize("joint_title", [True, False])
def test_short_trunks_have_shorter_lengths(tmp_path, joint_title):
    write(tmp_path / "vocab.txt")
    featurizer = open_featurizer(
        tmp_path, None, trunk(length=80), joint_title=joint_title
    )
    assert (featurizer.block_length, featurizer.joint_length) == (80, 80)
    assert featurizer.query_length == (23 if joint_title else 40)


def test_capitals_make_it_cased_unless_the_folder_says(tmp_path):
    write(tmp_path / "vocab.txt", [*WORDS[:-1], "Emma"])
    assert not open_featurizer(tmp_path, None, trunk()).lowercase
    config = tmp_path / "tokenizer_config.json"
    config.write_text('{"do_lower_case": true}')
    assert open_featurizer(tmp_path, None, trunk()).lowercase
    config.write_text("{")
    assert not open_featurizer(tmp_path, None, trunk()).lowercase


def test_a_named_file_goes_first(tmp_path):
    write(tmp_path / "vocab.txt", [*WORDS, "london"])
    other = write(tmp_path / "other.txt")
    featurizer = open_featurizer(tmp_path, other, trunk(7))
    assert featurizer.vocabulary_size == 6


def test_more_words_than_rows_are_refused(tmp_path):
    write(tmp_path / "vocab.txt")
    with pytest.raises(CheckpointError, match="6 words for 5 rows"):
        open_featurizer(tmp_path, None, trunk(5))


def test_without_a_file_the_uncased_vocabulary_is_known_by_its_size(tmp_path):
    featurizer = open_featurizer(tmp_path, None, trunk(30_522))
    assert featurizer.mask_id == 103
    with pytest.raises(CheckpointError, match="must have a vocabulary"):
        open_featurizer(tmp_path, None, trunk(30_523))
