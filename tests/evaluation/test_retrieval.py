import collections
import sys

import numpy as np
import pytest

from realm_tf._constants import MISSING_BLOCK_ID
from realm_tf.data.corpus.blocks import Block
from realm_tf.data.questions.questions import Question
from realm_tf.evaluation.retrieval import evaluate_retrieval
from realm_tf.retrieval.searchers.searcher import SearchResult

# Document of each block, in the order that embeddings find them; words find
# the reverse, but for the first two blocks, which share none.
DOCUMENTS = ["a", "a", "b", "a", "c", "b", "d", "e"]
QUESTIONS = [
    Question("q1", "one", ("x",), passage_id="b"),
    Question("q2", "two", (), passage_ids=("a", "d"), relevances=(1, 2)),
    Question("q3", "three", ("x",)),
    Question("q4", "four", (), passage_ids=("e", "z")),
]


class FakeIndex:
    """Finds the same blocks for all questions, scores descending from 8."""

    has_words = True

    def __init__(self):
        self.ks = collections.defaultdict(list)

    def search(self, embeddings, k, texts=None, lexical_weight=0.0):
        self.ks["both" if lexical_weight else "embeddings"].append(k)
        return self._found(range(8), len(embeddings), k)

    def search_words(self, texts, k):
        self.ks["words"].append(k)
        return self._found(range(7, 1, -1), len(texts), k)

    def _found(self, ids, batch, k):
        result = SearchResult.empty(batch, k)
        ids = np.array(ids)[:k]
        result.block_ids[:, : len(ids)] = ids
        result.scores[:, : len(ids)] = np.arange(8, 8 - len(ids), -1)
        return result

    def blocks(self, ids):
        assert MISSING_BLOCK_ID not in ids
        return [Block("text", document_id=DOCUMENTS[i]) for i in ids]

    def has_document(self, name):
        return name in DOCUMENTS


def score(index, questions=QUESTIONS, **options):
    options = {
        "features": None,
        "lexical_weight": 0.5,
        "ks": [1, 3],
        "batch_size": 2,
        "progress": lambda *call: None,
        **options,
    }
    return evaluate_retrieval(
        index, lambda texts: np.zeros((len(texts), 4)), questions, **options
    )


def test_documents_are_ranked_by_their_best_blocks(caplog):
    report = score(FakeIndex())
    expected = {"a": 8.0, "b": 6.0, "c": 4.0, "d": 2.0, "e": 1.0}
    assert report.runs["embeddings"]["q1"] == expected
    assert report.runs["both"] == report.runs["embeddings"]
    expected = {"e": 8.0, "d": 7.0, "b": 6.0, "c": 5.0, "a": 4.0}
    assert report.runs["words"]["q4"] == expected
    assert list(report.runs["words"]) == ["q1", "q2", "q4"]
    assert report.num_questions == 3
    assert report.num_without_passages == 1
    assert report.num_unknown_passages == 1
    assert "1 of 5 known passages are not in the index" in caplog.text


def test_measures_are_those_computed_by_hand():
    report = score(FakeIndex())
    assert list(report.rankings) == ["embeddings", "words", "both"]
    # b at 2; a at 1 and d at 4; e at 5 and z nowhere.
    ranking = report.rankings["embeddings"]
    reciprocal = (1 / 2 + 1 + 1 / 5) / 3
    assert ranking.mean_reciprocal_rank == pytest.approx(reciprocal)
    # In the first three: b; a, but not d; neither e nor z.
    expected = {1: (0 + 1 / 2 + 0) / 3, 3: (1 + 1 / 2 + 0) / 3}
    assert ranking.recall_at_k == pytest.approx(expected)
    found = report.to_json()
    assert found["rankings"]["embeddings"] == ranking.to_json()
    assert found["num_unknown_passages"] == 1


def test_search_goes_on_until_there_are_enough_documents(monkeypatch):
    monkeypatch.setattr("realm_tf.evaluation.retrieval._MIN_DEPTH", 1)
    index = FakeIndex()
    report = score(index, QUESTIONS[:1], ks=[1, 3])
    assert report.depth == 3
    assert index.ks == {"embeddings": [3, 6], "words": [3], "both": [3, 6]}
    assert list(report.runs["embeddings"]["q1"]) == ["a", "b", "c"]
    score(index, QUESTIONS[:1], ks=[6], features=["words"])
    assert index.ks["words"][1:] == [6, 12]  # only five exist


def test_ten_documents_are_ranked_at_least():
    assert score(FakeIndex(), ks=[1]).depth == 10
    assert score(FakeIndex(), ks=[11]).depth == 11


def test_features_are_chosen():
    index = FakeIndex()
    report = score(index, features=["both", "embeddings"])
    assert list(report.rankings) == ["embeddings", "both"]
    assert "words" not in index.ks
    assert list(score(index, lexical_weight=0.0).runs) == [
        "embeddings",
        "words",
    ]
    index.has_words = False
    assert list(score(index).runs) == ["embeddings"]
    for features in ([], ["words"], ["both"]):
        with pytest.raises(ValueError, match="`features` must be some of"):
            score(index, features=features)


def test_progress_is_told():
    calls = []
    score(FakeIndex(), progress=lambda *call: calls.append(call))
    assert calls == [("retrieval", done, 3, {}) for done in (2, 3)]


def test_the_library_is_missed_before_the_search(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    index = FakeIndex()
    with pytest.raises(ImportError, match="need ir-measures"):
        score(index)
    assert not index.ks
