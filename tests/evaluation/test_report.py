import json

from realm_tf.data.questions.questions import Question
from realm_tf.evaluation.report import QuestionScore, Report

SCORE = QuestionScore(
    question=Question("q1", "Wer ist müde?", ("a", "b"), passage_id="p"),
    prediction="café",
    score=0.5,
    found=True,
    exact_match=False,
    f1=0.25,
    answer_rank=2,
    block_rank=None,
)
REPORT = Report(
    num_questions=1,
    exact_match=0.0,
    f1=0.25,
    answer_recall_at_k={1: 0.0, 5: 1.0},
    num_with_passage=1,
    block_recall_at_k={1: 0.0, 5: 0.0},
    mean_reciprocal_rank=0.0,
    num_without_answers=0,
    num_unanswerable=0,
    num_invalid_regexes=0,
    num_regex_timeouts=0,
    scores=(SCORE,),
)


def test_to_json_is_flat_and_can_be_written():
    flat = REPORT.to_json()
    assert flat["exact_match"] == 0.0
    assert flat["answer_recall_at_5"] == 1.0
    assert flat["block_recall_at_1"] == 0.0
    assert "scores" not in flat
    assert json.loads(json.dumps(flat)) == flat


def test_write_scores_writes_a_line_for_each_question(tmp_path):
    path = tmp_path / "scores.jsonl"
    REPORT.write_scores(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert "müde" in lines[0]
    assert [json.loads(line) for line in lines] == [
        {
            "id": "q1",
            "question": "Wer ist müde?",
            "prediction": "café",
            "answers": ["a", "b"],
            "exact_match": False,
            "f1": 0.25,
            "score": 0.5,
            "found": True,
            "answer_rank": 2,
            "block_rank": None,
        }
    ]


def test_repr_leaves_single_questions_out():
    assert "müde" not in repr(REPORT)
