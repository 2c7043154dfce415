import dataclasses
import logging

import pytest

from realm_tf.data.corpus.blocks import Block
from realm_tf.data.questions.questions import Question
from realm_tf.evaluation import regex_answers
from realm_tf.evaluation.evaluator import (
    evaluate,
)


@dataclasses.dataclass
class FakeAnswer:
    text: str
    score: float
    blocks: tuple[Block, ...]
    found: bool = True


EMMA = Block("Emma is by Jane Austen.", document_id="emma")
LAKE = Block("Lake Baikal is 1,642 metres deep.", document_id="baikal")
MOON = Block("In July 1969 they walked on the Moon.", document_id="moon")
QUESTIONS = [
    Question("q1", "who wrote emma", ("Jane Austen",), passage_id="emma"),
    Question("q2", "how deep is lake baikal", ("1642 m", "1,642 metres")),
    Question("q3", "when was the moon landing", ("july",), regex=True),
    Question("q4", "what is emma", ("novel",), passage_id="nowhere"),
    Question("q5", "who wrote emma", ("Austen",), passage_id="moon"),
]
ANSWERS = {
    "who wrote emma": FakeAnswer("Jane Austen", 0.9, (MOON, EMMA)),
    "how deep is lake baikal": FakeAnswer("1,642", 0.5, (LAKE, EMMA)),
    "when was the moon landing": FakeAnswer("July 1969", 0.8, (EMMA, MOON)),
    "what is emma": FakeAnswer("a lake", 0.1, (LAKE,)),
}


def predict(questions):
    return [ANSWERS[question] for question in questions]


def test_questions_without_answers_are_scored_by_their_passages():
    relevant = Question("q6", "what is emma", (), passage_ids=("x", "baikal"))
    report = evaluate(predict, [QUESTIONS[0], relevant], ks=(1,))
    assert report.num_without_answers == 1
    assert (report.exact_match, report.f1) == (1.0, 1.0)
    # Over q1 alone, whose answer is in the second block.
    assert report.answer_recall_at_k == {1: 0.0}
    # First block of the own passages, of q1 and q6: 2nd, 1st.
    assert report.num_with_passage == 2
    assert report.block_recall_at_k == {1: 1 / 2}
    assert report.scores[1].exact_match is None
    assert report.scores[1].f1 is None
    alone = evaluate(predict, [relevant], ks=(1,))
    assert (alone.exact_match, alone.f1) == (None, None)
    assert alone.answer_recall_at_k == {}
    assert alone.block_recall_at_k == {1: 1.0}


def test_every_answer_to_a_question_without_one_is_wrong():
    # An unanswerable question names the passage that it was asked about.
    emma = Question("q7", "what is emma", (), passage_id="baikal")
    lake = Question("q8", "how deep is lake baikal", ("1,642",))
    right = QUESTIONS[0]
    report = evaluate(predict, [right, lake, emma], ks=(1,))
    assert (report.num_unanswerable, report.num_without_answers) == (1, 0)
    assert (report.exact_match, report.num_with_passage) == (1.0, 1)
    assert [score.is_right for score in report.scores] == [True, True, False]
    figures = report.to_json()
    # Probabilities .9 and .5 of right answers, each in a bin of its own.
    assert figures["expected_calibration_error"] == pytest.approx(
        (0.1 + 0.5) / 2
    )
    assert figures["answerability_auroc"] == 1.0
    assert figures["answerability_f1"] == 2 * 2 / (3 + 2)


def test_scores_that_are_no_probabilities_have_no_confidence():
    def scored(questions):
        return [dataclasses.replace(ANSWERS[q], score=-3.0) for q in questions]

    report = evaluate(scored, QUESTIONS, ks=())
    assert report.confidence is None
    assert "expected_calibration_error" not in report.to_json()


def test_evaluate_scores_answers_and_evidence():
    report = evaluate(predict, QUESTIONS, ks=(1, 2))
    # Right: q1, q3 (as a regular expression). q5 wants "Austen" alone.
    assert report.exact_match == 2 / 5
    # q1: 1. q2: {1642} against {1642, metres}: P = 1, R = 1/2, F1 = 2/3.
    # q3 has no F1. q4: 0. q5: P = 1/2, R = 1, F1 = 2/3.
    assert report.f1 == pytest.approx((1 + 2 / 3 + 0 + 2 / 3) / 4)
    # First block with an answer: q1 2nd, q2 1st, q3 2nd, q4 none, q5 2nd.
    assert report.answer_recall_at_k == {1: 1 / 5, 2: 4 / 5}
    # First block of the own passage, of q1, q4, q5: 2nd, none, 1st.
    assert report.num_with_passage == 3
    assert report.block_recall_at_k == {1: 1 / 3, 2: 2 / 3}
    assert report.mean_reciprocal_rank == (1 / 2 + 0 + 1) / 3
    assert report.num_questions == 5
    assert report.num_invalid_regexes == report.num_regex_timeouts == 0


def test_evaluate_keeps_every_question_in_order():
    scores = evaluate(predict, QUESTIONS, ks=()).scores
    assert [score.question for score in scores] == QUESTIONS
    assert [score.exact_match for score in scores] == [1, 0, 1, 0, 0]
    assert [score.answer_rank for score in scores] == [2, 1, 2, None, 2]
    assert [score.block_rank for score in scores] == [2, None, None, None, 1]
    assert scores[2].f1 is None
    assert scores[0].score == 0.9


def test_batch_size_bounds_the_questions_of_one_call():
    sizes = []

    def counting(questions):
        sizes.append(len(questions))
        return predict(questions)

    whole = evaluate(counting, QUESTIONS, ks=(1,))
    parts = evaluate(counting, QUESTIONS, ks=(1,), batch_size=2)
    assert sizes == [5, 2, 2, 1]
    assert whole == parts


def test_cut_offs_beyond_the_blocks_that_came_back_are_left_out(caplog):
    with caplog.at_level(logging.WARNING):
        report = evaluate(predict, QUESTIONS, ks=(1, 2, 20))
    assert list(report.answer_recall_at_k) == [1, 2]
    assert "up to k=2, the number of retrieved blocks" in caplog.text


def test_blocks_without_passages_have_no_block_recall():
    report = evaluate(predict, QUESTIONS[1:2], ks=(1,))
    assert report.answer_recall_at_k == {1: 1.0}
    assert report.block_recall_at_k == {}
    assert report.mean_reciprocal_rank is None


def test_invalid_regexes_are_counted_once_for_each_question():
    question = Question("q", "who wrote emma", ("(bad", "aus"), regex=True)
    report = evaluate(predict, [question, question], ks=(2,))
    assert report.num_invalid_regexes == 2
    assert report.exact_match == 0.0
    assert report.answer_recall_at_k == {2: 1.0}
    assert report.f1 is None


def test_regex_timeouts_are_counted(monkeypatch):
    monkeypatch.setattr(regex_answers, "TIME_LIMIT", 0.3)
    answer = FakeAnswer("a" * 60 + "!", 1.0, (Block("a" * 60 + "!"),))
    question = Question("q", "?", ("(?=a)(a+)+$",), regex=True)
    report = evaluate(lambda _: [answer], [question], ks=(1,))
    assert report.num_regex_timeouts == 2  # the answer and the block
    assert report.exact_match == 0.0


def test_exception_of_predict_ends_the_evaluation():
    def failing(questions):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        evaluate(failing, QUESTIONS)


def test_another_number_of_predictions_is_refused():
    with pytest.raises(ValueError, match="4 predictions for 5 questions"):
        evaluate(lambda questions: predict(questions)[:-1], QUESTIONS)


def test_no_questions_are_refused():
    with pytest.raises(ValueError, match="`questions` must hold at least one"):
        evaluate(predict, [])


def test_exact_match_equals_official_code(golden):
    (case,) = golden["evaluate"]
    questions = [
        Question(text, text, tuple(answers))
        for text, answers in case["references"].items()
    ]
    predictions = case["predictions"]
    report = evaluate(
        # A prediction that is missing there is a wrong one here.
        lambda texts: [
            FakeAnswer(predictions.get(t, "none"), 0.0, ()) for t in texts
        ],
        questions,
        ks=(),
    )
    assert report.exact_match == case["result"]["accuracy"]
    assert report.num_questions == case["result"]["num_total"]
    num_correct = sum(score.exact_match for score in report.scores)
    assert num_correct == case["result"]["num_correct"]
