"""The tokenizer of a checkpoint -> `Featurizer`."""

import importlib.resources
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from realm_tf import _constants
from realm_tf.checkpoints.json_object import read_json
from realm_tf.data.text.featurizer import (
    Featurizer,
    distinct_words,
    read_vocabulary,
)
from realm_tf.errors import CheckpointError

logger = logging.getLogger(__name__)

_NAMES = ("vocab.txt", "assets/vocab.txt", "vocabulary.txt")
_TOKENIZER_NAME = "tokenizer.json"
_CONFIG_NAME = "tokenizer_config.json"
_UNCASED = importlib.resources.files("realm_tf.data.text") / "bert_uncased.txt"
_UNCASED_SIZE = 30_522
_ROOM_FOR_TITLE = 33  # wordpieces of a joint input, [SEP] counted
# Classes that compute the tokenizer of BERT. A class of no model is described
# by tokenizer.json alone.
_CLASSES = ("Bert", "Realm", "DistilBert", "Electra", "MobileBert")
_ANY_CLASS = ("PreTrainedTokenizerFast", "TokenizersBackend")
# What tokenizer.json must say: section, key, value.
_PARTS = (
    ("model", "type", "WordPiece"),
    ("model", "continuing_subword_prefix", "##"),
    ("normalizer", "type", "BertNormalizer"),
    ("pre_tokenizer", "type", "BertPreTokenizer"),
)


class Tokenizer(NamedTuple):
    """What a checkpoint says of its tokenizer.

    Args:
        words: the wordpieces, in order of their ids.
        lowercase: whether case and accents are dropped.
    """

    words: list[str]
    lowercase: bool


def read_tokenizer(
    folder: pathlib.Path,
    *,
    vocabulary: pathlib.Path | None = None,
    size: int | None = None,
) -> Tokenizer:
    """Reads the tokenizer of a checkpoint, for every kind of checkpoint.

    `tokenizer_config.json` goes first, then `tokenizer.json`. Where neither
    says whether capitals count, a vocabulary with capitals is cased.

    Args:
        folder: of the checkpoint.
        vocabulary: file that is used in place of the folder's own.
        size: rows of the embedding table. A table as long as that of uncased
            BERT needs no vocabulary of its own.

    Raises:
        CheckpointError: if there is no vocabulary, or the tokenizer is another
            one than that of BERT, naming the setting.
    """
    config = read_json(folder / _CONFIG_NAME, default={})
    tokenizer = read_json(folder / _TOKENIZER_NAME, default={})
    _check_config(folder / _CONFIG_NAME, config, tokenizer)
    _check_tokenizer(folder / _TOKENIZER_NAME, tokenizer)
    words = _words(folder, vocabulary, tokenizer, size)
    normalizer = tokenizer.get("normalizer") or {}
    lowercase = _first(config.get("do_lower_case"), normalizer.get("lowercase"))
    if lowercase is None:
        lowercase = is_uncased(words)
    accents = _first(
        config.get("strip_accents"), normalizer.get("strip_accents")
    )
    if accents is not None and bool(accents) != bool(lowercase):
        raise _refused(
            "`strip_accents`",
            "that of the case, or null: the tokenizer drops both or neither",
            f"strip_accents={accents}, do_lower_case={lowercase} in {folder}",
        )
    return Tokenizer(words, bool(lowercase))


def open_featurizer(
    folder: pathlib.Path,
    vocabulary: pathlib.Path | None,
    backbone: Any,
    *,
    joint_length: int = _constants.JOINT_LENGTH,
    joint_title: bool = False,
) -> Featurizer:
    """The featurizer that a checkpoint was trained with.

    Lengths are the published ones, or those that the backbone was made for if
    they are shorter.

    Args:
        folder: of the checkpoint.
        vocabulary: file that is used in place of the folder's own.
        backbone: `keras_hub.models.BertBackbone`.
        joint_length: see `Featurizer`.
        joint_title: see `Featurizer`.

    Raises:
        CheckpointError: if there is no vocabulary, or one of another size.
    """
    size = backbone.vocabulary_size
    tokenizer = read_tokenizer(folder, vocabulary=vocabulary, size=size)
    check_size(tokenizer.words, size, folder)
    return Featurizer(
        tokenizer.words,
        lowercase=tokenizer.lowercase,
        joint_title=joint_title,
        **lengths(
            backbone.max_sequence_length,
            joint_length=joint_length,
            joint_title=joint_title,
        ),
    )


def lengths(
    longest: int,
    *,
    joint_length: int = _constants.JOINT_LENGTH,
    joint_title: bool = True,
) -> dict[str, Any]:
    """Lengths of a `Featurizer` for a backbone of `longest` positions."""
    joint = min(joint_length, longest)
    title = _ROOM_FOR_TITLE if joint_title else 0
    return {
        "query_length": min(_constants.QUERY_LENGTH, (joint - title) // 2),
        "block_length": min(_constants.BLOCK_LENGTH, longest),
        "joint_length": joint,
    }


def check_size(
    words: Sequence[str], num_rows: int, folder: pathlib.Path
) -> None:
    """Checks that the embedding table has a row for every word.

    More rows than words are usual, for round numbers; a warning tells of them.

    Raises:
        CheckpointError: if it does not.
    """
    if len(words) > num_rows:
        raise CheckpointError(
            "The vocabulary must fit the embedding table. Received: "
            f"{len(words)} words for {num_rows} rows of {folder}. "
            "Take both from the same checkpoint."
        )
    if len(words) < num_rows:
        logger.warning(
            "The vocabulary of %s has %d words for %d rows of embeddings. The "
            "last %d rows are not used. Check that it is the checkpoint's own.",
            folder,
            len(words),
            num_rows,
            num_rows - len(words),
        )


def has_vocabulary(folder: pathlib.Path) -> bool:
    """Whether there is a vocabulary in a folder."""
    return any((folder / name).is_file() for name in (*_NAMES, _TOKENIZER_NAME))


def is_uncased(words: Sequence[str]) -> bool:
    """Whether no word but the special ones has a capital letter."""
    plain = (word for word in words if not word.startswith("["))
    return all(word == word.lower() for word in plain)


def _words(
    folder: pathlib.Path,
    vocabulary: pathlib.Path | None,
    tokenizer: Mapping[str, Any],
    size: int | None,
) -> list[str]:
    found = [folder / name for name in _NAMES if (folder / name).is_file()]
    path = vocabulary or next(iter(found), None)
    if path is not None:
        return read_vocabulary(path)
    if tokenizer:
        return _words_of(folder / _TOKENIZER_NAME, tokenizer)
    if size == _UNCASED_SIZE:
        with importlib.resources.as_file(_UNCASED) as file:
            return read_vocabulary(file)
    raise CheckpointError(
        f"A checkpoint must have a vocabulary. Received: {folder}, without "
        f"{', '.join(_NAMES[:2])} or {_TOKENIZER_NAME}. Name the file with "
        "`vocabulary`, or `--vocabulary`."
    )


def _words_of(path: pathlib.Path, tokenizer: Mapping[str, Any]) -> list[str]:
    words = dict(tokenizer["model"].get("vocab") or {})
    added = tokenizer.get("added_tokens") or []
    words |= {t["content"]: t["id"] for t in added if t.get("special")}
    ordered = sorted(words, key=words.__getitem__)
    if not words or [words[w] for w in ordered] != list(range(len(words))):
        raise _refused(
            "The vocabulary",
            "numbered from 0 without a gap",
            f"{len(words)} words in {path}",
        )
    return distinct_words(ordered, path)


def _check_config(
    path: pathlib.Path, config: Mapping[str, Any], tokenizer: Mapping[str, Any]
) -> None:
    name = config.get("tokenizer_class")
    known = [f"{c}Tokenizer{fast}" for c in _CLASSES for fast in ("", "Fast")]
    is_known = name in (None, *known) or (name in _ANY_CLASS and tokenizer)
    if not is_known:
        raise _refused(
            "`tokenizer_class`", f"one of {known}", f"{name!r} in {path}"
        )
    if config.get("tokenize_chinese_chars") not in (None, True):
        raise _no_chinese(f"tokenize_chinese_chars=False in {path}")
    if config.get("do_basic_tokenize") not in (None, True):
        raise _refused(
            "`do_basic_tokenize`",
            "true: punctuation is always split off",
            f"{config['do_basic_tokenize']!r} in {path}",
        )
    if config.get("never_split"):
        raise _refused(
            "`never_split`", "empty", f"{config['never_split']!r} in {path}"
        )


def _check_tokenizer(path: pathlib.Path, tokenizer: Mapping[str, Any]) -> None:
    if not tokenizer:
        return
    for section, key, expected in _PARTS:
        found = (tokenizer.get(section) or {}).get(key)
        is_old = (section, key, found) == ("model", "type", None)
        if found != expected and not is_old:
            raise _refused(
                f"`{section}.{key}`", repr(expected), f"{found!r} in {path}"
            )
    normalizer = tokenizer["normalizer"]
    if normalizer.get("handle_chinese_chars") is False:
        raise _no_chinese(f"handle_chinese_chars=False in {path}")
    words = tokenizer["model"].get("vocab") or {}
    own = [
        token["content"]
        for token in tokenizer.get("added_tokens") or []
        if not token.get("special") and token["content"] not in words
    ]
    if own:
        raise _refused(
            "`added_tokens`", "special ones", f"{own[:5]!r} in {path}"
        )


def _no_chinese(received: str) -> CheckpointError:
    return _refused(
        "`tokenize_chinese_chars`",
        "true: every Chinese character is a word",
        received,
    )


def _refused(what: str, must: str, received: str) -> CheckpointError:
    return CheckpointError(
        f"{what} must be {must}. Received: {received}. Choose a checkpoint "
        "with the tokenizer of BERT."
    )


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
