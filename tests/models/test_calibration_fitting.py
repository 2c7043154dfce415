import dataclasses

import numpy as np
import pytest

from realm_tf.data.questions.questions import Question
from realm_tf.evaluation.calibration import TEMPERATURES, Calibration
from realm_tf.models.calibration_fitting import fit_calibration


@pytest.fixture(scope="module")
def qa(make_qa, city_corpus):
    qa = make_qa()
    qa.build_index(city_corpus)
    return qa


@pytest.fixture(scope="module")
def asked(qa, city_questions):
    """Questions of which the model answers every second one."""
    texts = [q.question for q in city_questions]
    answers = qa.predict(texts, num_read=2)
    return [
        dataclasses.replace(q, answers=(a.text if i % 2 else "nothing",))
        for i, (q, a) in enumerate(zip(city_questions, answers, strict=True))
    ]


def fit(qa, questions):
    done = []
    report = fit_calibration(
        qa,
        questions,
        num_read=2,
        batch_size=4,
        progress=lambda stage, n, total, _: done.append((stage, n, total)),
    )
    num_judged = len(questions) - report.num_left_out
    assert done[-1] == ("questions", num_judged, num_judged)
    return report


def test_calibration_makes_the_answers_likelier(qa, asked, monkeypatch):
    report = fit(qa, asked)
    assert report.calibration.temperature in TEMPERATURES
    before, after = report.before, report.after
    assert after.negative_log_likelihood < before.negative_log_likelihood
    answers = qa.predict([q.question for q in asked], num_read=2)
    np.testing.assert_allclose(
        before.probabilities, [a.probability for a in answers], atol=1e-5
    )
    assert before.is_right.mean() == 0.5
    monkeypatch.setattr(qa, "calibration", report.calibration)
    answers = qa.predict([q.question for q in asked], num_read=2)
    np.testing.assert_allclose(
        after.probabilities, [a.probability for a in answers], atol=1e-5
    )
    assert after.is_found.tolist() == [a.found for a in answers]
    figures = report.to_json()
    assert figures["temperature"] == report.calibration.temperature
    assert figures["num_questions"] == len(asked)
    assert figures["expected_calibration_error_after"] == (
        after.expected_calibration_error
    )


def test_fitting_starts_from_the_model_without_calibration(
    qa, asked, monkeypatch
):
    first = fit(qa, asked)
    monkeypatch.setattr(qa, "calibration", Calibration(8.0, 0.5))
    assert fit(qa, asked).to_json() == pytest.approx(first.to_json())


def test_answers_to_questions_without_one_are_wrong(qa, asked):
    none = [dataclasses.replace(q, answers=()) for q in asked]
    report = fit(qa, asked + none)
    assert report.to_json()["num_unanswerable"] == len(none)
    assert report.after.is_right.mean() == 0.25
    assert report.after.answerability_auroc == pytest.approx(0.5, abs=0.01)


def test_questions_of_which_only_passages_are_known_are_left_out(qa, asked):
    relevant = Question("r", "who?", (), passage_ids=("paris",))
    report = fit(qa, [relevant, *asked])
    assert report.num_left_out == 1
    assert len(report.after.probabilities) == len(asked)


def test_questions_must_have_answers(qa):
    none = Question("n", "who?", ())
    with pytest.raises(ValueError, match="must have questions with answers"):
        fit(qa, [none])


def test_the_official_way_stays_as_published(qa, asked, monkeypatch):
    monkeypatch.setattr(qa, "official", True)
    with pytest.raises(ValueError, match="official=True"):
        fit(qa, asked)
