import json
import math
import sys

import pytest

from realm_tf.evaluation.ranking import (
    evaluate_run,
    ranking_table,
    recall_name,
    write_scores,
)

# Relevant: b (2), d (1) of q1; a (1) of q2. q3 has nothing relevant.
QRELS = {
    "q1": {"a": 0, "b": 2, "d": 1},
    "q2": {"a": 1},
    "q3": {"a": 0},
}
# q1: a, d, c, b. q2 is missing; q3 and q9 are not judged relevant.
RUN = {
    "q1": {"b": 1.0, "c": 2.0, "d": 3.0, "a": 4.0},
    "q3": {"a": 1.0},
    "q9": {"a": 1.0},
}


def test_measures_are_those_computed_by_hand():
    report = evaluate_run(RUN, QRELS, ks=[1, 2, 4])
    assert report.num_queries == 2
    assert report.num_unranked == 1
    assert report.num_unjudged == 2
    # q1 has gain 1 at rank 2 and gain 2 at rank 4; best are 2 and 1 at 1 and 2.
    gain = 1 / math.log2(3) + 2 / math.log2(5)
    best = 2 + 1 / math.log2(3)
    assert report.ndcg_at_10 == pytest.approx(gain / best / 2)
    # Precision is 1/2 at rank 2 and 2/4 at rank 4.
    assert report.mean_average_precision == pytest.approx((1 / 2) / 2)
    assert report.mean_reciprocal_rank == pytest.approx((1 / 2) / 2)
    expected = {1: 0, 2: (1 / 2) / 2, 4: 1 / 2}
    assert report.recall_at_k == pytest.approx(expected)
    assert report.scores["q1"]["mean_reciprocal_rank"] == 0.5
    assert set(report.scores["q2"].values()) == {0.0}


def test_graded_relevance_counts_for_ndcg_alone():
    graded = evaluate_run(RUN, QRELS)
    flat = evaluate_run(RUN, QRELS | {"q1": {"b": 1, "d": 1}})
    # Both at 1: gain 1 at ranks 2 and 4, at best at 1 and 2.
    gain = 1 / math.log2(3) + 1 / math.log2(5)
    best = 1 + 1 / math.log2(3)
    assert flat.ndcg_at_10 == pytest.approx(gain / best / 2)
    assert flat.ndcg_at_10 != pytest.approx(graded.ndcg_at_10)
    for name in ("mean_average_precision", "mean_reciprocal_rank"):
        assert getattr(flat, name) == getattr(graded, name)
    assert flat.recall_at_k == graded.recall_at_k


def test_ties_are_broken_as_trec_eval_does():
    report = evaluate_run({"q": {"a": 1.0, "b": 1.0}}, {"q": {"a": 1}})
    assert report.mean_reciprocal_rank == 0.5


def test_report_is_flat_json_without_the_queries():
    found = evaluate_run(RUN, QRELS, ks=[2]).to_json()
    assert json.loads(json.dumps(found)) == found
    assert set(found) == {
        *("num_queries", "num_unranked", "num_unjudged", "ndcg_at_10"),
        *("mean_average_precision", "mean_reciprocal_rank", recall_name(2)),
    }


def test_table_has_a_row_for_each_ranking():
    report = evaluate_run(RUN, QRELS, ks=[1, 2, 5])
    columns, rows = ranking_table({"a": report, "b": report})
    assert columns[1:] == ["nDCG@10", "MAP", "MRR", "R@1", "R@5"]
    assert [row[0] for row in rows] == ["a", "b"]
    assert rows[0][1:] == [report.ndcg_at_10, 0.25, 0.25, 0.0, 0.5]


def test_scores_of_queries_are_written(tmp_path):
    report = evaluate_run(RUN, QRELS, ks=[2])
    write_scores({"a": report}, tmp_path / "scores.jsonl")
    lines = (tmp_path / "scores.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"id": query, "a": report.scores[query]} for query in ("q1", "q2")
    ]


@pytest.mark.parametrize("qrels", [{}, {"q": {"a": 0}}])
def test_nothing_relevant_is_refused(qrels):
    with pytest.raises(ValueError, match="must have a relevant document"):
        evaluate_run({"q": {"a": 1.0}}, qrels)


def test_cut_offs_below_1_are_refused():
    with pytest.raises(ValueError, match="`ks` must be at least 1"):
        evaluate_run(RUN, QRELS, ks=[0])


def test_without_the_library_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(ImportError, match=r"pip install 'realm-tf\[eval\]'"):
        evaluate_run(RUN, QRELS)
