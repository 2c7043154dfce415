"""Which blocks hold an answer, and where: the labels of QA fine-tuning."""

import array
import dataclasses
import itertools
import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

import ahocorasick
import numpy as np

from realm_tf.data.corpus.blocks import Block
from realm_tf.data.questions.questions import Question

logger = logging.getLogger(__name__)


class BlockSource(Protocol):
    """The methods of `Corpus` that answer matching uses."""

    num_blocks: int

    def __getitem__(self, block_id: int) -> Block: ...


@dataclasses.dataclass(frozen=True)
class BlockLists:
    """The blocks of each question, put together when they are asked for.

    Blocks are kept once for each distinct answer: many questions share
    "England", and a list for each of them would fill hundreds of gigabytes on
    the whole of Wikipedia.

    Args:
        question_splits: int64 `(num_questions + 1,)`, where the answers of
            each question begin in `answer_ids`.
        answer_ids: int32, distinct answers of each question.
        answer_splits: int64 `(num_distinct_answers + 1,)`, where the blocks of
            each distinct answer begin in `block_ids`.
        block_ids: uint32, ascending for each distinct answer.
    """

    question_splits: np.ndarray
    answer_ids: np.ndarray
    answer_splits: np.ndarray
    block_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.question_splits) - 1

    def __getitem__(self, question: int) -> np.ndarray:
        """Ids of the question's blocks: int64, ascending, no repeats."""
        if not 0 <= question < len(self):
            raise IndexError(
                f"`question` must be from 0 to {len(self) - 1}. Received: "
                f"question={question}."
            )
        start, end = self.question_splits[question : question + 2]
        lists = [
            self.block_ids[self.answer_splits[i] : self.answer_splits[i + 1]]
            for i in self.answer_ids[start:end]
        ]
        # Without answers there is nothing to concatenate.
        merged = np.concatenate([self.block_ids[:0], *lists])
        return np.unique(merged).astype(np.int64)


@dataclasses.dataclass(frozen=True)
class AnswerBlocks:
    """The blocks that hold an answer of each question.

    Args:
        by_text: `BlockLists`. The block's text holds an answer letter for
            letter: case counts, "US" is in "USA". The official label of the
            retriever (`HasAnswer`).
        num_empty_answers: int. Blank answers, which are skipped.
        num_regex_questions: int. Questions skipped, their lists empty:
            regular expressions cannot share one pass over the corpus.
    """

    by_text: BlockLists
    num_empty_answers: int
    num_regex_questions: int


def find_answer_blocks(
    corpus: BlockSource,
    questions: Sequence[Question],
) -> AnswerBlocks:
    """Finds the blocks that hold an answer, in one pass over the corpus.

    All answers are sought at once by an Aho-Corasick automaton, so the time
    hardly depends on the number of questions. Each block that holds a distinct
    answer takes 4 bytes in the result and 20 while it is sorted.

    Args:
        corpus: `Corpus`, or any object with `num_blocks` and blocks by their
            ids.
        questions: sequence of `Question`.

    Returns:
        `AnswerBlocks`, its lists in the order of `questions`.

    Source: Lee et al., 2019, section 7.2; google-research/language,
    `orqa/ops/orqa_ops.cc` (`HasAnswer`).
    """
    answers = [
        () if question.regex else question.answers for question in questions
    ]
    texts = [[a for a in spellings if a.strip()] for spellings in answers]
    finder = _Finder(texts)
    for block_id in range(corpus.num_blocks):
        finder.add_block(corpus[block_id].text)
    found = AnswerBlocks(
        by_text=finder.finish(),
        num_empty_answers=_total(answers) - _total(texts),
        num_regex_questions=sum(question.regex for question in questions),
    )
    _warn_of_omissions(found)
    return found


def gold_spans(
    token_ids: np.ndarray, answers: Iterable[Sequence[int] | np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Finds every occurrence of the answers among a block's wordpieces.

    Args:
        token_ids: int array `(num_tokens,)`. Wordpieces of a block.
        answers: the wordpieces of each answer. Empty ones occur nowhere.

    Returns:
        Pair of int32 arrays: first and last wordpiece of each occurrence, both
        inclusive, ordered by answer, then by place. Overlapping occurrences
        are all there, and those of repeated answers are repeated.

    Example:
    >>> starts, ends = gold_spans(np.array([5, 5, 5, 7]), [[5, 5], [7]])
    >>> starts.tolist(), ends.tolist()
    ([0, 1, 3], [1, 2, 3])

    Source: google-research/language, `orqa/ops/orqa_ops.cc`.
    """
    starts, ends = [], []
    for answer in answers:
        width = len(answer)
        if 0 < width <= len(token_ids):
            windows = np.lib.stride_tricks.sliding_window_view(token_ids, width)
            found = np.flatnonzero((windows == answer).all(axis=1))
            starts.append(found)
            ends.append(found + width - 1)
    none = np.zeros(0, np.int32)
    return (
        np.concatenate([none, *starts]).astype(np.int32),
        np.concatenate([none, *ends]).astype(np.int32),
    )


class _Finder:
    """Finds the keys of all questions in one text after the other."""

    def __init__(self, keys: Sequence[Iterable[str]]):
        self._automaton = ahocorasick.Automaton()
        ids: dict[str, int] = {}
        self._key_ids = [
            [ids.setdefault(key, len(ids)) for key in row] for row in keys
        ]
        for key, key_id in ids.items():
            self._automaton.add_word(key, key_id)
        self._automaton.make_automaton()
        self._num_keys = len(ids)
        self._found = array.array("I")
        self._num_found = array.array("I")

    def add_block(self, text: str) -> None:
        """Searches the text of the next block."""
        found = set()
        if self._num_keys:
            found = {key_id for _, key_id in self._automaton.iter(text)}
        self._found.extend(found)
        self._num_found.append(len(found))

    def finish(self) -> BlockLists:
        """Sorts what was found by key."""
        found = np.frombuffer(self._found, np.uint32)
        num_found = np.frombuffer(self._num_found, np.uint32)
        blocks = np.arange(len(num_found), dtype=np.uint32)
        counts = np.bincount(found, minlength=self._num_keys)
        # A stable sort leaves the blocks of a key in their order.
        order = np.argsort(found, kind="stable")
        rows = self._key_ids
        return BlockLists(
            question_splits=np.cumsum([0, *map(len, rows)], dtype=np.int64),
            answer_ids=np.array(list(itertools.chain(*rows)), np.int32),
            answer_splits=np.cumsum([0, *counts], dtype=np.int64),
            block_ids=np.repeat(blocks, num_found)[order],
        )


def _total(rows: Iterable[Sequence[str]]) -> int:
    return sum(map(len, rows))


def _warn_of_omissions(found: AnswerBlocks) -> None:
    if found.num_empty_answers:
        logger.warning("Skipped %d blank answers.", found.num_empty_answers)
    if found.num_regex_questions:
        logger.warning(
            "Skipped %d questions whose answers are regular expressions.",
            found.num_regex_questions,
        )
