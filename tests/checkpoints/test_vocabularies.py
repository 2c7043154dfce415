import json
import types

import pytest

from realm_tf.checkpoints.vocabularies import open_featurizer, read_tokenizer
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
def test_short_backbones_have_shorter_lengths(tmp_path, joint_title):
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
    config.write_text('{"do_lower_case": null}')
    assert not open_featurizer(tmp_path, None, trunk()).lowercase
    config.write_text("{")
    with pytest.raises(CheckpointError, match="must hold a JSON object"):
        open_featurizer(tmp_path, None, trunk())


def tokenizer(**changes):
    """A `tokenizer.json`, sections of it changed."""
    sections = {
        "model": {
            "type": "WordPiece",
            "continuing_subword_prefix": "##",
            "vocab": {word: i for i, word in enumerate(WORDS)},
        },
        "normalizer": {"type": "BertNormalizer", "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
    }
    for name, values in changes.items():
        sections[name] = sections.get(name, {}) | values
    return sections


def write_facts(folder, config=None, of_tokenizer=None):
    for name, content in (
        ("tokenizer_config.json", config),
        ("tokenizer.json", of_tokenizer),
    ):
        if content is not None:
            (folder / name).write_text(json.dumps(content))


@pytest.mark.parametrize("lowercase", [True, False])
def test_the_case_may_be_in_the_tokenizer_alone(tmp_path, lowercase):
    write(tmp_path / "vocab.txt")
    normalizer = {"lowercase": lowercase}
    write_facts(tmp_path, {}, tokenizer(normalizer=normalizer))
    assert read_tokenizer(tmp_path).lowercase is lowercase


@pytest.mark.parametrize(
    ("config", "lowercase"),
    [
        ({"strip_accents": None, "never_split": None}, True),
        ({"strip_accents": True, "tokenizer_class": "BertTokenizer"}, True),
        ({"strip_accents": False, "do_lower_case": False}, False),
        ({"tokenize_chinese_chars": True, "never_split": []}, True),
        ({"tokenizer_class": "RealmTokenizerFast"}, True),
    ],
)
def test_settings_that_are_the_tokenizer_of_bert_are_taken(
    tmp_path, config, lowercase
):
    write(tmp_path / "vocab.txt")
    write_facts(tmp_path, config)
    assert read_tokenizer(tmp_path) == (WORDS, lowercase)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"strip_accents": False, "do_lower_case": True}, "strip_accents"),
        ({"strip_accents": True, "do_lower_case": False}, "strip_accents"),
        ({"tokenize_chinese_chars": False}, "tokenize_chinese_chars"),
        ({"tokenizer_class": "BertJapaneseTokenizer"}, "tokenizer_class"),
        ({"tokenizer_class": "PreTrainedTokenizerFast"}, "tokenizer_class"),
        ({"never_split": ["[DOC]"]}, "never_split"),
        ({"do_basic_tokenize": False}, "do_basic_tokenize"),
    ],
)
def test_settings_of_other_tokenizers_are_refused_by_name(
    tmp_path, config, name
):
    write(tmp_path / "vocab.txt")
    write_facts(tmp_path, config)
    with pytest.raises(CheckpointError, match=f"`{name}` must be"):
        read_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"model": {"type": "Unigram"}}, "model.type"),
        (
            {"model": {"continuing_subword_prefix": "@@"}},
            "model.continuing_subword_prefix",
        ),
        ({"normalizer": {"type": "Sequence"}}, "normalizer.type"),
        ({"normalizer": {"strip_accents": False}}, "strip_accents"),
        (
            {"normalizer": {"handle_chinese_chars": False}},
            "tokenize_chinese_chars",
        ),
        ({"pre_tokenizer": {"type": "Metaspace"}}, "pre_tokenizer.type"),
    ],
)
def test_tokenizers_of_another_make_are_refused_by_name(
    tmp_path, changes, name
):
    write(tmp_path / "vocab.txt")
    write_facts(tmp_path, None, tokenizer(**changes))
    with pytest.raises(CheckpointError, match=f"`{name}` must be"):
        read_tokenizer(tmp_path)


def test_words_that_were_added_are_refused_unless_they_are_special(tmp_path):
    content = tokenizer()
    added = {"id": 6, "content": "[DOC]", "special": True}
    write_facts(tmp_path, None, {**content, "added_tokens": [added]})
    assert read_tokenizer(tmp_path).words == [*WORDS, "[DOC]"]
    added["special"] = False
    write_facts(tmp_path, None, {**content, "added_tokens": [added]})
    with pytest.raises(CheckpointError, match="`added_tokens` must be special"):
        read_tokenizer(tmp_path)


def test_a_vocabulary_with_gaps_is_refused(tmp_path):
    vocab = {word: 2 * i for i, word in enumerate(WORDS)}
    write_facts(tmp_path, None, tokenizer(model={"vocab": vocab}))
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    content["model"]["vocab"] = vocab
    write_facts(tmp_path, None, content)
    with pytest.raises(CheckpointError, match="without a gap. Received: 6 wor"):
        read_tokenizer(tmp_path)


def test_a_named_file_goes_first(tmp_path):
    write(tmp_path / "vocab.txt", [*WORDS, "london"])
    other = write(tmp_path / "other.txt")
    featurizer = open_featurizer(tmp_path, other, trunk(7))
    assert featurizer.vocabulary_size == 6


def test_more_words_than_rows_are_refused(tmp_path):
    write(tmp_path / "vocab.txt")
    with pytest.raises(CheckpointError, match="6 words for 5 rows"):
        open_featurizer(tmp_path, None, trunk(5))


def test_fewer_words_than_rows_are_told(tmp_path, caplog):
    write(tmp_path / "vocab.txt")
    open_featurizer(tmp_path, None, trunk(8))
    assert "has 6 words for 8 rows of embeddings. The last 2" in caplog.text


def test_without_a_file_the_uncased_vocabulary_is_known_by_its_size(tmp_path):
    featurizer = open_featurizer(tmp_path, None, trunk(30_522))
    assert featurizer.mask_id == 103
    with pytest.raises(CheckpointError, match="must have a vocabulary"):
        open_featurizer(tmp_path, None, trunk(30_523))
