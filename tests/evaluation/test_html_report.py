import dataclasses
import re

from realm_tf.data.questions.questions import Question
from realm_tf.evaluation.html_report import answers_html, retrieval_html
from realm_tf.evaluation.ranking import evaluate_run
from realm_tf.evaluation.report import QuestionScore, Report

RANKING = evaluate_run({"q": {"a": 2.0, "b": 1.0}}, {"q": {"b": 1}}, ks=[1, 5])
REPORT = Report(
    num_questions=2,
    exact_match=0.5,
    f1=0.5,
    answer_recall_at_k={1: 0.5, 5: 1.0},
    num_with_passage=0,
    block_recall_at_k={},
    mean_reciprocal_rank=None,
    num_without_answers=0,
    num_unanswerable=0,
    num_invalid_regexes=0,
    num_regex_timeouts=0,
    scores=tuple(
        QuestionScore(
            Question("q", "Who?", ("a",)), "a", score, True, right, 1.0, 1, None
        )
        for score, right in ((0.75, True), (0.25, False))
    ),
)


def titles(page):
    return re.findall("aria-label='([^']*)'", page)


def test_rankings_become_a_table_and_recall_curves():
    facts = {"num_questions": 1, "rankings": {"a": {}}, "files": ["x", "y"]}
    page = retrieval_html("Retrieval", {"words": RANKING}, facts)
    assert "<th>nDCG@10</th>" in page
    assert "<td>words</td><td>0.6309</td>" in page  # 1 / log2(3)
    assert "<td>questions</td><td>1</td>" in page
    assert "<td>x, y</td>" in page
    assert "rankings" not in page
    assert titles(page) == ["Recall"]


def test_answers_have_recall_risk_and_reliability():
    page = answers_html("Evaluation", REPORT, {"f1": 0.5, "split": None})
    assert titles(page) == ["Recall", "Risk at each coverage", "Reliability"]
    assert "<td>f1</td><td>0.5000</td>" in page
    assert "<td>split</td><td>-</td>" in page


def test_scores_that_are_no_probabilities_have_no_plots_of_confidence():
    scores = [dataclasses.replace(s, score=7.0) for s in REPORT.scores]
    report = dataclasses.replace(
        REPORT, scores=tuple(scores), answer_recall_at_k={}
    )
    assert titles(answers_html("Evaluation", report, {})) == []


def test_page_stands_alone_and_is_escaped():
    bad = "<script>alert('1')</script>"
    page = retrieval_html(bad, {bad: RANKING, "b": RANKING}, {bad: bad})
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"(src|href|url)\s*[=(]", page)
