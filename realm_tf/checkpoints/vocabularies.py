"""The vocabulary of a checkpoint -> `Featurizer`."""

import importlib.resources
import json
import pathlib
from typing import Any

from realm_tf import _constants
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.errors import CheckpointError

_NAMES = ("vocab.txt", "assets/vocab.txt", "vocabulary.txt")
_UNCASED = importlib.resources.files("realm_tf.data.text") / "bert_uncased.txt"
_UNCASED_SIZE = 30_522
_ROOM_FOR_TITLE = 33  # wordpieces of a joint input, [SEP] counted


def open_featurizer(
    folder: pathlib.Path,
    vocabulary: pathlib.Path | None,
    trunk: Any,
    *,
    joint_length: int = _constants.JOINT_LENGTH,
    joint_title: bool = False,
) -> Featurizer:
    """The featurizer that a checkpoint was trained with.

    A vocabulary with capitals is cased, unless a `tokenizer_config.json` says
    something else. Lengths are the published ones, or those that the backbone
    was made for if they are shorter.

    Args:
        folder: of the checkpoint.
        vocabulary: file that is used in place of the folder's own.
        trunk: `keras_hub.models.BertBackbone`.
        joint_length: see `Featurizer`.
        joint_title: see `Featurizer`.

    Raises:
        CheckpointError: if there is no vocabulary, or one of another size.
    """
    words = _words(folder, vocabulary, trunk.vocabulary_size)
    if len(words) > trunk.vocabulary_size:
        raise CheckpointError(
            "The vocabulary must fit the embedding table. Received: "
            f"{len(words)} words for {trunk.vocabulary_size} rows of {folder}. "
            "Take both from the same checkpoint."
        )
    longest = trunk.max_sequence_length
    joint = min(joint_length, longest)
    title = _ROOM_FOR_TITLE if joint_title else 0
    return Featurizer(
        words,
        lowercase=_is_lowercase(folder, words),
        query_length=min(_constants.QUERY_LENGTH, (joint - title) // 2),
        block_length=min(_constants.BLOCK_LENGTH, longest),
        joint_length=joint,
        joint_title=joint_title,
    )


def has_vocabulary(folder: pathlib.Path) -> bool:
    """Whether there is a vocabulary in a folder."""
    return any((folder / name).is_file() for name in _NAMES)


def _words(
    folder: pathlib.Path, vocabulary: pathlib.Path | None, size: int
) -> list[str]:
    found = [folder / name for name in _NAMES if (folder / name).is_file()]
    path = vocabulary or next(iter(found), None)
    if path is not None:
        text = pathlib.Path(path).read_text(encoding="utf-8")
    elif size == _UNCASED_SIZE:
        text = _UNCASED.read_text(encoding="utf-8")
    else:
        raise CheckpointError(
            f"A checkpoint must have a vocabulary. Received: {folder}, without "
            f"{' or '.join(_NAMES[:2])}. Name the file with `vocabulary`, or "
            "`--vocabulary`."
        )
    return text.rstrip("\n").split("\n")


def _is_lowercase(folder: pathlib.Path, words: list[str]) -> bool:
    file = folder / "tokenizer_config.json"
    if file.is_file():
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            config = {}
        if isinstance(config, dict) and "do_lower_case" in config:
            return bool(config["do_lower_case"])
    plain = (word for word in words if not word.startswith("["))
    return all(word == word.lower() for word in plain)
