"""Inputs of question embedder and reader as the ORQA code makes them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from realm_tf.data.text.featurizer import Featurizer
from realm_tf.data.text.tensorflow_text import tf_text

# Punctuation and Chinese characters are words by themselves.
_ALONE = (
    r"[!-/:-@\[-`{-~]|[\p{P}]"
    r"|[\x{4E00}-\x{9FFF}]|[\x{3400}-\x{4DBF}]|[\x{20000}-\x{2A6DF}]"
    r"|[\x{2A700}-\x{2B73F}]|[\x{2B740}-\x{2B81F}]|[\x{2B820}-\x{2CEAF}]"
    r"|[\x{F900}-\x{FAFF}]|[\x{2F800}-\x{2FA1F}]"
)


class OfficialBlock(NamedTuple):
    """One block as the reader sees it.

    Args:
        words: the original words and punctuation.
        token_ids: wordpieces of all of them.
        token_map: word of each wordpiece.
    """

    words: list[str]
    token_ids: list[int]
    token_map: list[int]


class OfficialFeaturizer:
    """Text to inputs, with the tokenizer and the layouts of ORQA.

    Wordpieces are those of `tensorflow_text.BertTokenizer`. The text of a
    block is cut into words first, and each wordpiece knows its word. There is
    no title in the reader, and questions are not cut to a length of their own.

    Args:
        featurizer: `Featurizer` with the vocabulary.
        joint_length: wordpieces that the reader takes.
    """

    def __init__(self, featurizer: Featurizer, joint_length: int):
        self.vocabulary = featurizer.vocabulary
        self.lowercase = featurizer.lowercase
        self.joint_length = joint_length
        # Room for [CLS] and two [SEP]; there may be none for a block.
        self.max_question = joint_length - 3
        self._cls_id, self._sep_id = featurizer.cls_id, featurizer.sep_id
        table = tf.lookup.StaticVocabularyTable(
            tf.lookup.KeyValueTensorInitializer(
                list(self.vocabulary),
                np.arange(len(self.vocabulary), dtype=np.int64),
            ),
            num_oov_buckets=1,
        )
        self._tokenizer = tf_text.BertTokenizer(
            table, lower_case=self.lowercase, token_out_type=tf.int64
        )
        self._wordpieces = tf_text.WordpieceTokenizer(
            table, token_out_type=tf.int64
        )

    def question_ids(self, question: str) -> list[int]:
        """Wordpieces of a question."""
        ids = self._tokenizer.tokenize([question.encode("utf-8", "replace")])
        return ids.merge_dims(-2, -1)[0].numpy().tolist()

    def questions(self, texts: Sequence[str]) -> dict[str, tf.Tensor]:
        """Inputs of the question embedder: `[CLS] question [SEP]`."""
        rows = [
            [self._cls_id, *self.question_ids(t)[: self.max_question]]
            + [self._sep_id]
            for t in texts
        ]
        length = max(map(len, rows), default=1)
        ids = np.zeros((len(rows), length), np.int32)
        mask = np.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        return {
            "token_ids": tf.constant(ids),
            "segment_ids": tf.zeros_like(ids),
            "padding_mask": tf.constant(mask),
        }

    def block(self, text: str) -> OfficialBlock:
        """Words and wordpieces of a block."""
        clean = tf.strings.regex_replace(
            [text.encode("utf-8", "replace")], r"\p{Cc}|\p{Cf}", " "
        )
        words = tf_text.regex_split(
            clean, f"\\s+|{_ALONE}", keep_delim_regex_pattern=_ALONE
        )[0]
        if not words.shape[0]:
            return OfficialBlock([], [], [])
        # Words are not cut again after this, as `BertTokenizer` would do.
        plain = words
        if self.lowercase:
            plain = tf_text.normalize_utf8(tf_text.case_fold_utf8(words), "NFD")
            plain = tf.strings.regex_replace(plain, r"\p{Mn}", "")
        ids = self._wordpieces.tokenize(plain).to_list()
        return OfficialBlock(
            [word.decode() for word in words.numpy().tolist()],
            [i for own in ids for i in own],
            [place for place, own in enumerate(ids) for _ in own],
        )

    def joint(
        self, question_ids: Sequence[int], blocks: Sequence[OfficialBlock]
    ) -> dict[str, np.ndarray]:
        """Inputs of the reader: `[CLS] question [SEP] block [SEP]`.

        Args:
            question_ids: of `question_ids`.
            blocks: `OfficialBlock`s.

        Returns:
            dict of int32 `(num_blocks, joint_length)` arrays: `token_ids`,
            `segment_ids`, `padding_mask`, `block_mask`, and `token_map` with
            the word of each wordpiece of the block, -1 elsewhere.

        Example:
            See `ReaderInputs` of `orqa/ops/orqa_ops.cc`.
        """
        shape = (len(blocks), self.joint_length)
        out: dict[str, Any] = {
            name: np.zeros(shape, np.int32)
            for name in (
                "token_ids",
                "segment_ids",
                "padding_mask",
                "block_mask",
            )
        }
        out["token_map"] = np.full(shape, -1, np.int32)
        head = [self._cls_id, *question_ids[: self.max_question], self._sep_id]
        room = self.joint_length - len(head) - 1
        for i, block in enumerate(blocks):
            ids = block.token_ids[:room]
            end = len(head) + len(ids)
            out["token_ids"][i, : end + 1] = [*head, *ids, self._sep_id]
            out["segment_ids"][i, len(head) : end + 1] = 1
            out["padding_mask"][i, : end + 1] = 1
            out["block_mask"][i, len(head) : end] = 1
            out["token_map"][i, len(head) : end] = block.token_map[:room]
        return out
