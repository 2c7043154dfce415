"""The tokenizer of a corpus: the default one, or that of a model."""

import importlib.resources
import json
import pathlib

from realm_tf._manifest import read_manifest
from realm_tf.checkpoints import presets
from realm_tf.checkpoints.bert import BertFolder
from realm_tf.checkpoints.vocabularies import is_uncased
from realm_tf.data.text.featurizer import Featurizer, read_vocabulary

_UNCASED = importlib.resources.files("realm_tf.data.text") / "bert_uncased.txt"


def open_tokenizer(path: pathlib.Path | None, *, cased: bool) -> Featurizer:
    """Opens a tokenizer without its model.

    Args:
        path: a preset, a BERT folder, or a file with a wordpiece on each
            line; `None` for that of uncased BERT, which most models share.
        cased: whether the wordpieces of a file keep capitals and accents;
            those of a file with capitals do in any case.

    Raises:
        ValueError: if there is none in `path`.
    """
    if path is None:
        with importlib.resources.as_file(_UNCASED) as file:
            return Featurizer.from_file(file)
    if path.is_file():
        words = read_vocabulary(path)
        return Featurizer(words, lowercase=not cased and is_uncased(words))
    if (path / presets.VOCABULARY_NAME).is_file():
        read_manifest(path, presets.KIND, verify=False)
        config = json.loads((path / presets.CONFIG_NAME).read_text("utf-8"))
        return Featurizer.from_file(
            path / presets.VOCABULARY_NAME, **config["featurizer"]
        )
    return BertFolder.open(path).featurizer
