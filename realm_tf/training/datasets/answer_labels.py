"""Labels of question answering: which blocks and which spans are right."""

import dataclasses
import itertools
import logging
from collections.abc import Callable, Sequence

import numpy as np

from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.questions.answer_matching import (
    BlockLists,
    find_answer_blocks,
    gold_spans,
)
from realm_tf.data.questions.questions import Question
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.errors import MismatchError

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class QuestionLabels:
    """What is known of a question's answer in a corpus.

    Args:
        gold: int64 block ids that are right: blocks of the question's own
            passage that hold an answer if the passage is known, otherwise all
            blocks that hold an answer.
        ambiguous: int64 block ids that hold an answer elsewhere. They are
            neither right nor wrong, so they train nothing.
        marks: block id -> (character in the block's text, answer) of every
            marked answer; empty if no place was marked.
        has_passage: the question's own passage is known, so that answers in
            other blocks are not marked for the reader.
    """

    gold: np.ndarray
    ambiguous: np.ndarray
    marks: dict[int, tuple[tuple[int, str], ...]]
    has_passage: bool


class AnswerLabels:
    """Labels of many questions in a corpus, found in one pass.

    The official rules hold, both, and each by itself: a block is right for the
    retriever if its text holds an answer letter for letter (`HasAnswer`), a
    span is right for the reader if its wordpieces are those of an answer, in
    whatever block is read. So "The Louvre" is read as "the louvre", though it
    is not retrieved as that. Where a question names its passage (SQuAD and the
    like), only that passage is right for both, and where its answer is marked
    there, only the marked span.

    Args:
        corpus: `Corpus`.
        questions: sequence of `Question`.
        featurizer: `Featurizer` the corpus was built with.
        find: returns the blocks that hold an answer of each question, of a
            corpus and questions; defaults to `find_answer_blocks`.

    Raises:
        MismatchError: if the corpus was built with another tokenizer.
    """

    def __init__(
        self,
        corpus: Corpus,
        questions: Sequence[Question],
        featurizer: Featurizer,
        find: Callable[[Corpus, Sequence[Question]], BlockLists] | None = None,
    ):
        self.corpus = corpus
        self.questions = questions
        if corpus.tokenizer_fingerprint != featurizer.fingerprint:
            raise MismatchError(
                "`featurizer` must be the one the corpus was built with. "
                f"Received: corpus tokenizer={corpus.tokenizer_fingerprint[:8]}"
                f", featurizer={featurizer.fingerprint[:8]}. Build the corpus "
                "again or load its vocabulary."
            )
        self._holders = (find or _find)(corpus, questions)
        self._answer_ids = _wordpieces(questions, featurizer)

    def holders(self, i: int) -> np.ndarray:
        """int64 ids of all blocks that hold an answer of question `i`."""
        return self._holders[i]

    def question(self, i: int) -> QuestionLabels:
        """Labels of question `i`."""
        question = self.questions[i]
        holders = self.holders(i)
        found = [self.corpus.find_document(p) for p in question.own_passages]
        own = np.concatenate([np.zeros(0, np.int64), *found])
        marks = _marks(question, self.corpus, own)
        gold = np.intersect1d(holders, own)
        if marks:
            gold = np.array(sorted(marks), np.int64)
        has_passage = len(gold) > 0
        if not has_passage:
            gold = holders
        ambiguous = np.setdiff1d(holders, gold)
        return QuestionLabels(gold, ambiguous, marks, has_passage)

    def spans(
        self,
        i: int,
        labels: QuestionLabels,
        block_id: int,
        joint: dict[str, np.ndarray],
    ) -> list[tuple[int, int]]:
        """Gold spans of question `i` in one joint input, as wordpieces.

        Args:
            i: the question.
            labels: its labels.
            block_id: the block of the joint input.
            joint: features of `Featurizer.joint`, each `(joint_length,)`.

        Returns:
            list of (first, last) places in the joint input, both inclusive.
        """
        places = np.flatnonzero(joint["block_mask"])
        if block_id in labels.marks and len(places):
            text = self.corpus[block_id].text
            spans = [
                _covering(text, start, answer, joint, places)
                for start, answer in labels.marks[block_id]
            ]
            return sorted({span for span in spans if span is not None})
        first, last = gold_spans(
            joint["token_ids"][places], self._answer_ids[i]
        )
        return [
            (int(places[s]), int(places[e]))
            for s, e in zip(first, last, strict=True)
        ]


def _find(corpus: Corpus, questions: Sequence[Question]) -> BlockLists:
    return find_answer_blocks(corpus, questions).by_text


def _wordpieces(
    questions: Sequence[Question], featurizer: Featurizer
) -> list[list[np.ndarray]]:
    """Of each question, the wordpieces of its answers.

    Without answers that hold an unknown sign, as it would match all others.
    """
    answers = [() if q.regex else q.answers for q in questions]
    tokens = featurizer.tokenize(list(itertools.chain(*answers)))
    rows = (tokens.row(i)[0] for i in itertools.count())
    known = [
        [
            ids
            for ids in itertools.islice(rows, len(spellings))
            if len(ids) and featurizer.unk_id not in ids
        ]
        for spellings in answers
    ]
    num_unknown = sum(map(len, answers)) - sum(map(len, known))
    if num_unknown:
        logger.warning(
            "Skipped %d answers without known wordpieces.", num_unknown
        )
    return known


def _marks(
    question: Question, corpus: Corpus, own: np.ndarray
) -> dict[int, tuple[tuple[int, str], ...]]:
    """Where the marked answers are, by block.

    Blocks join sentences by one space, whatever stood between them, so a
    place in the passage is only near the place in the block: the nearest
    occurrence of the answer is taken.
    """
    if not question.answer_starts or question.regex:
        return {}
    marks: dict[int, set[tuple[int, str]]] = {}
    for start, answer in zip(
        question.answer_starts, question.answers, strict=True
    ):
        best: tuple[int, int, int] | None = None  # distance, block, start
        before = 0
        for block_id in own.tolist():
            text = corpus[block_id].text
            place = text.find(answer) if answer else -1
            while place >= 0:
                distance = abs(before + place - start)
                if best is None or distance < best[0]:
                    best = (distance, block_id, place)
                place = text.find(answer, place + 1)
            before += len(text) + 1
        if best is not None:
            marks.setdefault(best[1], set()).add((best[2], answer))
    return {block: tuple(sorted(places)) for block, places in marks.items()}


def _covering(
    text: str,
    start: int,
    answer: str,
    joint: dict[str, np.ndarray],
    places: np.ndarray,
) -> tuple[int, int] | None:
    first_byte = len(text[:start].encode("utf-8", "replace"))
    last_byte = first_byte + len(answer.encode("utf-8", "replace"))
    inside = places[
        (joint["ends"][places] > first_byte)
        & (joint["starts"][places] < last_byte)
    ]
    # The block may have been cut before the answer ends.
    if not len(inside) or joint["ends"][inside[-1]] < last_byte:
        return None
    return int(inside[0]), int(inside[-1])
