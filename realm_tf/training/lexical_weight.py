"""The weight of BM25 in the retrieval logit, learned from questions."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from realm_tf._constants import COSINE_LEXICAL_WEIGHT
from realm_tf.models.question_answerer import QuestionAnswerer
from realm_tf.training.datasets.answer_labels import QuestionLabels

_NUM_CANDIDATES = 100
_MAX_QUESTIONS = 2000  # more of them move the weight by less than its use
_RANGE = np.log(1000)
_NUM_STEPS = 40  # each way; the loss may have more than one valley
_REFINEMENTS = 20
_GOLDEN = (5**0.5 - 1) / 2


def fit_lexical_weight(
    qa: QuestionAnswerer,
    questions: Sequence[str],
    labels: Sequence[QuestionLabels],
    *,
    seed: int = 0,
) -> float:
    """The weight that makes the right blocks most likely; embedders stay.

    The loss is that of retrieval, -log p(any right block | x), over the blocks
    that both searches find.

    Args:
        qa: with an index that has a lexical part. Its own weight chooses
            candidates.
        questions: texts.
        labels: which blocks are right for each.
        seed: of the choice among more than 2,000 questions.

    Returns:
        w; the weight of `qa` where no candidate is right for any question.
    """
    chosen = np.random.default_rng(seed).permutation(len(questions))
    chosen = np.sort(chosen[:_MAX_QUESTIONS])
    texts = [questions[i] for i in chosen]
    index = qa.require_index()
    weight = qa.lexical_weight
    if weight <= 0:
        weight = COSINE_LEXICAL_WEIGHT
    found = index.search(
        qa.engine.embed_questions(texts).embeddings,
        min(_NUM_CANDIDATES, index.num_blocks),
        texts=texts,
        lexical_weight=weight,
    )
    bm25 = found.bm25
    assert bm25 is not None  # a weight compares words
    right = np.zeros(found.block_ids.shape, bool)
    counted = found.block_ids >= 0
    for row, i in enumerate(chosen):
        ids = found.block_ids[row]
        right[row] = np.isin(ids, labels[i].gold)
        counted[row] &= ~np.isin(ids, labels[i].ambiguous)
    some = right.any(axis=1)
    if not some.any():
        return qa.lexical_weight
    dense = np.where(counted, found.scores - weight * bm25, -np.inf)
    return best_weight(dense[some], bm25[some], right[some], weight)


def best_weight(
    dense: npt.NDArray[np.floating],
    bm25: npt.NDArray[np.floating],
    right: npt.NDArray[np.bool_],
    start: float,
) -> float:
    """The most probable w of logits `dense + w * bm25`.

    Minimises the sum of -log p(right) and (log w - log start)^2 / 2. The second
    is a prior: where words always decide, no w would be too large.

    Args:
        dense: float `(num_questions, num_candidates)`; `-inf` leaves one out.
        bm25: float, of the same shape.
        right: bool, of the same shape, with one or more of each question.
        start: what w is without questions.

    Returns:
        w, from a thousandth of `start` to a thousand times it.
    """

    def loss(log_weight: float) -> float:
        logits = dense + np.exp(log_weight) * bm25
        positive = np.where(right, logits, -np.inf)
        prior = (log_weight - np.log(start)) ** 2 / 2
        return float(np.sum(_logsumexp(logits) - _logsumexp(positive)) + prior)

    grid = np.log(start) + np.linspace(-_RANGE, _RANGE, 2 * _NUM_STEPS + 1)
    best = int(np.argmin([loss(value) for value in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    for _ in range(_REFINEMENTS):
        step = _GOLDEN * (high - low)
        if loss(high - step) <= loss(low + step):
            high = low + step
        else:
            low = high - step
    return float(np.exp((low + high) / 2))


def _logsumexp(x: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    top = x.max(axis=1, keepdims=True)
    total: npt.NDArray[np.floating] = np.log(np.exp(x - top).sum(axis=1))
    return total + top[:, 0]
