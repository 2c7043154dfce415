import pytest

from realm_tf.cli.ui.tokenizer import open_tokenizer
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.errors import FolderError


def test_the_default_is_uncased_bert():
    featurizer = open_tokenizer(None, cased=False)
    assert featurizer.vocabulary_size == 30_522
    assert featurizer.lowercase
    ids = featurizer.tokenize(["Emma, Ph.D."]).ids.tolist()
    # The ids of the published vocabulary for "emma , ph . d ."
    assert ids == [5616, 1010, 6887, 1012, 1040, 1012]


def test_a_file_is_uncased_unless_told(tiny_bert):
    file = tiny_bert / "vocab.txt"
    uncased = open_tokenizer(file, cased=False)
    assert uncased.fingerprint == Featurizer.from_file(file).fingerprint
    cased = open_tokenizer(file, cased=True)
    assert not cased.lowercase
    assert cased.fingerprint != uncased.fingerprint


def test_a_file_with_capitals_is_cased(tmp_path):
    file = tmp_path / "vocab.txt"
    special = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"
    file.write_text(f"{special}Emma\n")
    assert not open_tokenizer(file, cased=False).lowercase
    file.write_text(f"{special}emma\n")
    assert open_tokenizer(file, cased=False).lowercase


def test_presets_and_bert_folders_have_one(preset, tiny_bert):
    of_preset = open_tokenizer(preset, cased=False)
    of_bert = open_tokenizer(tiny_bert, cased=False)
    assert of_preset.fingerprint == of_bert.fingerprint
    assert of_preset.get_config() == of_bert.get_config()


def test_a_folder_without_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match="A BERT folder must hold"):
        open_tokenizer(tmp_path, cased=False)


def test_a_damaged_preset_is_refused(tmp_path):
    (tmp_path / "vocabulary.txt").write_text("[PAD]\n")
    with pytest.raises(FolderError, match="manifest.json"):
        open_tokenizer(tmp_path, cased=False)
