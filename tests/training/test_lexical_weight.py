import numpy as np
import pytest

from realm_tf._constants import COSINE_LEXICAL_WEIGHT
from realm_tf.data.questions.questions import Question
from realm_tf.training.datasets.answer_labels import AnswerLabels
from realm_tf.training.lexical_weight import best_weight, fit_lexical_weight


def test_the_weight_of_the_data_is_found():
    # Of 40,000 questions the right block was drawn with w = 0.6.
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(40_000, 6)) * 2
    bm25 = rng.gamma(2.0, 3.0, size=dense.shape)
    noise = rng.gumbel(size=dense.shape)
    drawn = np.argmax(dense + 0.6 * bm25 + noise, axis=1)
    right = np.arange(6) == drawn[:, None]
    assert best_weight(dense, bm25, right, 3.0) == pytest.approx(0.6, abs=0.02)


def test_candidates_that_are_left_out_do_not_count():
    rng = np.random.default_rng(0)
    dense, bm25 = rng.normal(size=(2, 50, 6))
    right = np.arange(6) == rng.integers(0, 5, 50)[:, None]
    dense[:, 5] = -np.inf
    expected = best_weight(dense[:, :5], bm25[:, :5], right[:, :5], 1.0)
    assert best_weight(dense, bm25, right, 1.0) == expected


def test_words_that_always_decide_have_a_finite_weight():
    dense, bm25 = np.zeros((3, 2)), np.array([[2.0, 0.0]] * 3)
    right = np.array([[True, False]] * 3)
    weight = best_weight(dense, bm25, right, 0.8)
    # 3 log(1 + exp(-2 w)) + log(w / 0.8)^2 / 2 is least there.
    assert weight == pytest.approx(1.34, abs=0.01)


def test_without_evidence_the_start_stays():
    one = np.ones((1, 2))
    weight = best_weight(one, one, np.array([[True, False]]), 0.3)
    assert weight == pytest.approx(0.3, rel=1e-3)


@pytest.fixture
def labeled(town_corpus, town_questions, make_qa):
    qa = make_qa()
    qa.build_index(town_corpus)
    labels = AnswerLabels(town_corpus, town_questions, qa.featurizer)
    return (
        qa,
        [question.question for question in town_questions],
        [labels.question(i) for i in range(len(town_questions))],
    )


def test_questions_that_share_words_with_their_blocks_raise_it(labeled):
    qa, questions, labels = labeled
    assert fit_lexical_weight(qa, questions, labels) > COSINE_LEXICAL_WEIGHT
    for former in (5.0, -0.1):
        qa.lexical_weight = former
        assert fit_lexical_weight(qa, questions, labels) > 1.0


def test_questions_without_a_right_block_leave_it(labeled, town_corpus):
    qa, _, _ = labeled
    asked = [Question("a", "who?", ("nowhere at all",))]
    labels = AnswerLabels(town_corpus, asked, qa.featurizer)
    qa.lexical_weight = 0.25
    assert fit_lexical_weight(qa, ["who?"], [labels.question(0)]) == 0.25
