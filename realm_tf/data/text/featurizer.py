"""Text to wordpieces with byte offsets, and to the inputs of the models."""

import hashlib
import json
import logging
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from realm_tf import _constants
from realm_tf.data.text.tensorflow_text import tf_text
from realm_tf.data.text.wordpiece_layout import WordpieceLayout

_ALGORITHM = "FastBertTokenizer/1"
_MAX_TITLE_IN_JOINT = 32  # wordpieces; keeps room for the block
# What is longer is cut before it is tokenised, which takes 10 s for a megabyte.
_CHARACTERS_A_WORDPIECE = 256
_MAX_CHARACTERS_OF_WORD = 100  # a longer word is [UNK], as in BERT
_LONG_WORD = r"(?s).*[^\s[:punct:]]{101}.*"
# What the tokenizer drops, but for white space, which it keeps as a space.
_HAS_INVISIBLE = (
    r"(?s).*[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{9f}"
    r"\p{Cf}\p{Co}\x{FFFD}].*"
)
_INVISIBLE_END = r"[\p{C}\x{FFFD}]+\z"
_MAX_BYTES_OF_WORD = 4 * _MAX_CHARACTERS_OF_WORD
_LOG = logging.getLogger(__name__)


class Tokens(NamedTuple):
    """Wordpieces of many texts, one text after the other.

    Args:
        ids: int32 `(num_tokens,)`, places in the vocabulary.
        starts: int32 `(num_tokens,)`, first byte in the UTF-8 text.
        ends: int32 `(num_tokens,)`, byte after the last.
        row_splits: int64 `(num_texts + 1,)`, where each text begins.
    """

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    row_splits: np.ndarray

    def row(self, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`ids`, `starts` and `ends` of text `i`."""
        part = slice(self.row_splits[i], self.row_splits[i + 1])
        return self.ids[part], self.starts[part], self.ends[part]


class Featurizer:
    """Text to `token_ids`, `segment_ids` and `padding_mask`, with offsets.

    One tokenizer, `tensorflow_text.FastBertTokenizer` in its two halves,
    serves questions, blocks and joint inputs, eagerly and inside a
    `tf.function` that is exported. Offsets are bytes of the raw UTF-8 text,
    so an answer is a slice of its block. The words "[CLS]", "[SEP]", "[MASK]"
    and the like in a text are plain text.

    Args:
        vocabulary: the wordpieces, in order of their ids. Must hold `[PAD]`,
            `[UNK]`, `[CLS]`, `[SEP]` and `[MASK]`.
        lowercase: lower the case and strip accents before the lookup.
        query_length: wordpieces of a question, special tokens counted.
            Longer questions are cut at the end. So is every text that has
            more than 256 characters for each wordpiece of its length.
        block_length: wordpieces of a title and block, special tokens counted.
        joint_length: wordpieces of a question and block, special tokens
            counted. Only the block is cut.
        joint_title: put the block's title between question and block in
            joint inputs. The original does not.
        query_prompt: text before every question that is embedded, such as
            "query: " of the E5 models. The reader does not see it.
        block_prompt: the same of blocks; it stands before the title.

    Attributes:
        continues: bool `(vocabulary_size,)`, whether a wordpiece continues a
            word ("##").
        block_prompt_ids: wordpieces of `block_prompt`.

    Raises:
        ValueError: if a special token is missing from `vocabulary`, a word
            is there twice, or a length leaves no room for text.

    Example:
    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "who", "?"]
    >>> featurizer = Featurizer(words, query_length=5)
    >>> featurizer.questions(["Who?"])["token_ids"].numpy().tolist()
    [[2, 5, 6, 3, 0]]

    Source: Lee et al., 2019, section 3; google-research/language,
    orqa/ops/orqa_ops.cc (`ReaderInputs`) and realm/featurization.py.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        *,
        lowercase: bool = True,
        query_length: int = _constants.QUERY_LENGTH,
        block_length: int = _constants.BLOCK_LENGTH,
        joint_length: int = _constants.JOINT_LENGTH,
        joint_title: bool = True,
        query_prompt: str = "",
        block_prompt: str = "",
    ):
        self.vocabulary = tuple(vocabulary)
        self.lowercase = lowercase
        self.query_length = query_length
        self.block_length = block_length
        self.joint_length = joint_length
        self.joint_title = joint_title
        self.query_prompt = query_prompt
        self.block_prompt = block_prompt
        place = {word: i for i, word in enumerate(self.vocabulary)}
        special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
        missing = [word for word in special if word not in place]
        if missing:
            raise ValueError(
                "`vocabulary` must be a BERT vocabulary. Received: "
                f"{len(self.vocabulary)} words without {', '.join(missing)}. "
                "Use the vocab.txt that came with the checkpoint."
            )
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            place[word] for word in special
        )
        if len(place) < len(self.vocabulary):
            raise ValueError(
                "`vocabulary` must hold every word once. Received: "
                f"{len(self.vocabulary)} words, {len(place)} of them distinct. "
                "Use the vocab.txt that came with the checkpoint."
            )
        # The two halves of `tensorflow_text.FastBertTokenizer`. They are
        # constants, so the vocabulary travels inside exported graphs.
        self.continues = np.array([w.startswith("##") for w in vocabulary])
        self._continues = tf.constant(self.continues)
        self._normalizer = tf_text.FastBertNormalizer(lowercase)
        self._wordpieces = tf_text.FastWordpieceTokenizer(
            list(self.vocabulary),
            max_bytes_per_word=_MAX_BYTES_OF_WORD,
            token_out_type=tf.int32,
        )
        # Dozens of small operations: a call is faster compiled than eager.
        strings = tf.TensorSpec([None], tf.string)
        rows = tf.TensorSpec([None], tf.int32)
        self._compiled_tokenize = _compiled(self._tokenize, strings)
        self._compiled_questions = _compiled(self._questions, strings)
        self._compiled_blocks = _compiled(self._blocks, strings, strings)
        self._compiled_joint = _compiled(
            self._joint, strings, rows, strings, strings
        )
        prompt = self.tokenize([block_prompt]).ids if block_prompt else ()
        self.block_prompt_ids = np.asarray(prompt, np.int32)
        self._check_lengths()

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], **options: Any
    ) -> "Featurizer":
        """Reads `vocab.txt`, see `read_vocabulary`."""
        return cls(read_vocabulary(path), **options)

    @property
    def vocabulary_size(self) -> int:
        return len(self.vocabulary)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides the ids of a text."""
        content = json.dumps([_ALGORITHM, self.lowercase, self.vocabulary])
        return hashlib.sha256(content.encode()).hexdigest()

    def get_config(self) -> dict[str, Any]:
        """Everything but the vocabulary."""
        return {
            "lowercase": self.lowercase,
            "query_length": self.query_length,
            "block_length": self.block_length,
            "joint_length": self.joint_length,
            "joint_title": self.joint_title,
            **{
                name: prompt
                for name in ("query_prompt", "block_prompt")
                if (prompt := getattr(self, name))
            },
        }

    def with_lengths(
        self,
        *,
        query_length: int | None = None,
        block_length: int | None = None,
    ) -> "Featurizer":
        """The same tokenizer with other lengths.

        Args:
            query_length: see `Featurizer`; None for the same.
            block_length: see `Featurizer`; None for the same.
        """
        config = self.get_config()
        config["query_length"] = query_length or self.query_length
        config["block_length"] = block_length or self.block_length
        if config == self.get_config():
            return self
        return Featurizer(self.vocabulary, **config)

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Wordpieces of each text, without special tokens, uncut."""
        (texts,) = _as_strings(texts=texts)
        ids, starts, ends = self._compiled_tokenize(texts)
        return Tokens(
            ids.values.numpy(),
            starts.values.numpy(),
            ends.values.numpy(),
            ids.row_splits.numpy(),
        )

    def questions(self, texts: Any) -> dict[str, tf.Tensor]:
        """Inputs of the query embedder.

        Args:
            texts: strings, `(batch,)`.

        Returns:
            dict of int32 `(batch, query_length)` tensors: `[CLS] question
            [SEP]`, all segments 0.
        """
        features = self.cut_questions(texts)
        del features["truncated"]
        return features

    def cut_questions(self, texts: Any) -> dict[str, tf.Tensor]:
        """`questions`, and `truncated`: whether each was cut.

        Returns:
            dict of what `questions` returns, and bool `(batch,)`.
        """
        return dict(self._compiled_questions(*_as_strings(texts=texts)))

    def blocks(self, titles: Any, texts: Any) -> dict[str, tf.Tensor]:
        """Inputs of the block embedder.

        Args:
            titles: strings, `(batch,)`; "" for none.
            texts: strings, `(batch,)`.

        Returns:
            dict of int32 `(batch, block_length)` tensors: `[CLS] title [SEP]
            block [SEP]`, segments 0 up to the first `[SEP]`, then 1.
        """
        return self._compiled_blocks(*_as_strings(titles=titles, texts=texts))

    def block_features(
        self, title_ids: tf.RaggedTensor, block_ids: tf.RaggedTensor
    ) -> dict[str, tf.Tensor]:
        """`blocks` from wordpieces that are known already."""
        room = self.block_length - 3 - len(self.block_prompt_ids)
        title_ids = title_ids[:, :room]
        if len(self.block_prompt_ids):
            prompt = tf.repeat(
                tf.constant(self.block_prompt_ids)[None],
                title_ids.nrows(),
                axis=0,
            )
            title_ids = tf.concat([prompt, title_ids], axis=1)
        return self._pack([title_ids, block_ids], [0, 1], self.block_length)

    def joint(
        self, questions: Any, titles: Any, texts: Any
    ) -> dict[str, tf.Tensor]:
        """Inputs of the reader: each question together with one block.

        Args:
            questions: strings, `(batch,)`.
            titles: strings, `(batch,)`.
            texts: strings, `(batch,)`.

        Returns:
            dict of int32 `(batch, joint_length)` tensors: `token_ids`,
            `segment_ids`, `padding_mask`, `block_mask` (1 = wordpiece of the
            block's text) and `starts`, `ends` (bytes in the block's text).
            Layout: `[CLS] question [SEP] title [SEP] block [SEP]`, or
            `[CLS] question [SEP] block [SEP]` with `joint_title=False`.
        """
        questions, titles, texts = _as_strings(
            questions=questions, titles=titles, texts=texts
        )
        return self._compiled_joint(
            questions, tf.range(tf.size(questions)), titles, texts
        )

    def joint_rows(
        self,
        questions: tf.Tensor,
        question_rows: tf.Tensor,
        titles: tf.Tensor,
        texts: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """`joint` where blocks share questions, which are read once.

        Args:
            questions: string `(num_questions,)`.
            question_rows: int32 `(batch,)`, the question of each block.
            titles: string `(batch,)`.
            texts: string `(batch,)`.
        """
        return self._compiled_joint(questions, question_rows, titles, texts)

    def _questions(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        cut = _cut(texts, self.query_length)
        is_cut = tf.strings.length(texts) > tf.strings.length(cut)
        if self.query_prompt:
            cut = tf.strings.join([self.query_prompt, cut])
        ids, _, _ = self._tokenize(cut)
        is_cut |= ids.row_lengths() > self.query_length - 2
        features = self._pack([ids], [0], self.query_length)
        return features | {"truncated": is_cut}

    def _blocks(
        self, titles: tf.Tensor, texts: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        title_ids, _, _ = self._tokenize(_cut(titles, self.block_length))
        block_ids, _, _ = self._tokenize(_cut(texts, self.block_length))
        return self.block_features(title_ids, block_ids)

    def _joint(
        self,
        questions: tf.Tensor,
        question_rows: tf.Tensor,
        titles: tf.Tensor,
        texts: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        question_ids, _, _ = self._tokenize(_cut(questions, self.query_length))
        question_ids = tf.gather(question_ids, question_rows)
        title_ids, _, _ = self._tokenize(_cut(titles, _MAX_TITLE_IN_JOINT))
        block_ids, starts, ends = self._tokenize(_cut(texts, self.joint_length))
        parts = [question_ids[:, : self.query_length - 2], block_ids]
        segments = [0, 1]
        if self.joint_title:
            parts.insert(1, title_ids[:, :_MAX_TITLE_IN_JOINT])
            segments.insert(1, 1)
        layout = WordpieceLayout(parts, self.joint_length)
        outside = [0] * (len(parts) - 1)
        nothing = [0] * len(parts)
        return self._features(layout, parts, segments) | {
            "block_mask": layout.fill(0, [*outside, 1], nothing),
            "starts": layout.fill(0, [*outside, starts.values], nothing),
            "ends": layout.fill(0, [*outside, ends.values], nothing),
        }

    def _tokenize(
        self, texts: tf.Tensor
    ) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        # A scalar would end the process inside the normalizer.
        texts = tf.ensure_shape(texts, [None])
        normalized, sources = self._normalizer.normalize_with_offsets(texts)
        ids, starts, ends = self._limited(
            normalized, *self._wordpieces.tokenize_with_offsets(normalized)
        )
        # `FastBertTokenizer` does the same with a ragged gather, which makes
        # a graph four times as large.
        first = tf.gather(sources.row_starts(), ids.value_rowids())
        starts, ends = (
            ids.with_values(
                tf.cast(
                    tf.gather(
                        sources.values, first + tf.cast(x.values, tf.int64)
                    ),
                    tf.int32,
                )
            )
            for x in (starts, ends)
        )
        ends = _whole(texts, starts, ends)
        # Signs that nobody sees are rare: one scan of the texts.
        has_signs = tf.strings.regex_full_match(texts, _HAS_INVISIBLE)
        visible = tf.cond(
            tf.reduce_any(has_signs),
            lambda: _visible(texts, starts, ends),
            lambda: ends.values,
        )
        return ids, starts, ends.with_values(visible)

    def _limited(
        self,
        texts: tf.Tensor,
        ids: tf.RaggedTensor,
        starts: tf.RaggedTensor,
        ends: tf.RaggedTensor,
    ) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        """Wordpieces, where words of over 100 characters are `[UNK]`.

        The limit of TensorFlow Text is in bytes, that of BERT in characters.
        """

        def limited() -> tuple[tf.Tensor, ...]:
            rows = ids.value_rowids()
            # A wordpiece that continues no other one begins a word.
            is_first = ~tf.gather(self._continues, ids.values)
            words = tf.cumsum(tf.cast(is_first, tf.int32)) - 1
            first = tf.where(is_first)[:, 0]
            begins = tf.gather(starts.values, first)
            stops = tf.math.segment_max(ends.values, words)
            spellings = tf.strings.substr(
                tf.gather(texts, tf.gather(rows, first)), begins, stops - begins
            )
            sizes = tf.strings.length(spellings, unit="UTF8_CHAR")
            is_long = tf.gather(sizes > _MAX_CHARACTERS_OF_WORD, words)
            values = (
                tf.where(is_long, self.unk_id, ids.values),
                starts.values,
                tf.where(is_long, tf.gather(stops, words), ends.values),
            )
            is_kept = is_first | ~is_long
            kept = tf.where(is_kept)[:, 0]
            before = tf.cumsum(tf.cast(is_kept, tf.int64))
            splits = tf.gather(tf.concat([[0], before], 0), ids.row_splits)
            return (*(tf.gather(value, kept) for value in values), splits)

        # One scan of the text; the rest would double the time of a call.
        may_be_long = tf.strings.regex_full_match(texts, _LONG_WORD)
        new_ids, new_starts, new_ends, splits = tf.cond(
            tf.reduce_any(may_be_long),
            limited,
            lambda: (ids.values, starts.values, ends.values, ids.row_splits),
        )
        new = tf.RaggedTensor.from_row_splits(new_ids, splits, validate=False)
        return new, new.with_values(new_starts), new.with_values(new_ends)

    def _pack(
        self, parts: list[tf.RaggedTensor], segments: list[int], length: int
    ) -> dict[str, tf.Tensor]:
        return self._features(WordpieceLayout(parts, length), parts, segments)

    def _features(
        self,
        layout: WordpieceLayout,
        parts: list[tf.RaggedTensor],
        segments: list[int],
    ) -> dict[str, tf.Tensor]:
        ids = [part.values for part in parts]
        ones = [1] * len(parts)
        return {
            "token_ids": layout.fill(
                self.cls_id, ids, [self.sep_id] * len(parts)
            ),
            "segment_ids": layout.fill(segments[0], segments, segments),
            "padding_mask": layout.fill(1, ones, ones),
        }

    def _check_lengths(self) -> None:
        title = _MAX_TITLE_IN_JOINT + 1 if self.joint_title else 0
        prompt = len(self.block_prompt_ids)
        least = self.query_length + title + 2
        if (
            self.query_length < 3
            or self.block_length < 4 + prompt
            or self.joint_length < least
        ):
            raise ValueError(
                "`query_length` must be at least 3, `block_length` at least "
                f"{4 + prompt} and `joint_length` at least {least}. Received: "
                f"query_length={self.query_length}, block_length="
                f"{self.block_length}, joint_length={self.joint_length}. Raise "
                "the one that is too small."
            )


def _cut(texts: tf.Tensor, num_wordpieces: int) -> tf.Tensor:
    """As many characters as so many wordpieces can have in real text."""
    texts = tf.ensure_shape(texts, [None])
    length = num_wordpieces * _CHARACTERS_A_WORDPIECE
    return tf.strings.substr(texts, 0, length, unit="UTF8_CHAR")


def read_vocabulary(path: str | os.PathLike[str]) -> list[str]:
    """Reads `vocab.txt`: one wordpiece a line, UTF-8.

    A byte-order mark is no part of the first word. Of a word that is there
    twice, the last place counts, as in Hugging Face's tokenizers; the others
    keep their number, under a name that no text has.

    Args:
        path: the file.

    Returns:
        the wordpieces, in order of their ids.
    """
    text = pathlib.Path(path).read_text(encoding="utf-8-sig")
    return distinct_words(text.rstrip("\n").split("\n"), path)


def distinct_words(
    words: Sequence[str], source: str | os.PathLike[str]
) -> list[str]:
    """A vocabulary where earlier places of a repeated word have other names.

    Args:
        words: in order of their ids.
        source: what a warning names.
    """
    last = {word: place for place, word in enumerate(words)}
    repeated = len(words) - len(last)
    if not repeated:
        return list(words)
    _LOG.warning(
        "%s repeats %d words. The last place of each counts.", source, repeated
    )
    return [
        # The space keeps it from being a word of a text.
        word if last[word] == place else f"[repeated {place}]"
        for place, word in enumerate(words)
    ]


def _compiled(function: Any, *arguments: tf.TensorSpec) -> Any:
    return tf.function(function, arguments, autograph=False)


def _as_strings(**batches: Any) -> list[tf.Tensor]:
    """One string tensor `(batch,)` of each argument, all of one length."""
    tensors = [_as_tensor(name, texts) for name, texts in batches.items()]
    sizes = [tensor.shape[0] for tensor in tensors]
    if len({*sizes} - {None}) > 1:
        names = ", ".join(f"`{name}`" for name in batches)
        raise ValueError(
            f"{names} must have the same length. Received: "
            f"{', '.join(map(str, sizes))}. Give one of each per row."
        )
    return tensors


def _as_tensor(name: str, texts: Any) -> tf.Tensor:
    if tf.is_tensor(texts):
        if texts.dtype == tf.string and texts.shape.rank in (1, None):
            return tf.ensure_shape(texts, [None])
    elif not isinstance(texts, str | bytes):
        texts = list(texts)
        if all(isinstance(text, str) for text in texts):
            # Lone surrogates have no UTF-8; they count as one "?".
            encoded = [text.encode("utf-8", "replace") for text in texts]
            return tf.constant(encoded, tf.string, shape=(len(encoded),))
    raise TypeError(
        f"`{name}` must be a batch of strings. Received: {texts!r:.200}. Put a "
        "single text in a list."
    )


def _visible(
    texts: tf.Tensor, starts: tf.RaggedTensor, ends: tf.RaggedTensor
) -> tf.Tensor:
    """Ends before the signs that the tokenizer drops after a wordpiece.

    A wordpiece ends where the next character that is kept begins. Accents
    before that belong to it; zero-width spaces, soft hyphens, marks of
    direction and byte-order marks do not.
    """
    rows = tf.gather(texts, starts.value_rowids())
    slices = tf.strings.substr(rows, starts.values, ends.values - starts.values)
    kept = tf.strings.regex_replace(slices, _INVISIBLE_END, "")
    # A sign that is a wordpiece of its own keeps its place.
    size = tf.strings.length(kept)
    size = tf.where(size > 0, size, tf.strings.length(slices))
    return starts.values + size


def _whole(
    texts: tf.Tensor, starts: tf.RaggedTensor, ends: tf.RaggedTensor
) -> tf.RaggedTensor:
    """Ends, where no wordpiece is empty.

    A character that the tokenizer spells with several wordpieces ("½" is
    "1", "⁄", "2") gives empty slices to all but the last of them; each gets
    the whole character.
    """
    empty = tf.where(ends.values <= starts.values)[:, 0]
    places = tf.gather(starts.values, empty)
    rows = tf.gather(texts, tf.gather(starts.value_rowids(), empty))
    # The first byte of a character in UTF-8 tells how many it has.
    first = tf.strings.substr(rows, places, tf.ones_like(places))
    byte = tf.cast(
        tf.reshape(tf.io.decode_raw(first, tf.uint8), [-1]), tf.int32
    )
    size = 1 + sum(
        tf.cast(byte >= least, tf.int32) for least in (192, 224, 240)
    )
    values = tf.tensor_scatter_nd_update(
        ends.values, empty[:, None], places + size
    )
    return ends.with_values(values)
