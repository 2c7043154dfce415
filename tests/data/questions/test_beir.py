import json

import pytest

from realm_tf.data.corpus.articles import read_articles
from realm_tf.data.questions.beir import read_beir
from realm_tf.data.questions.question_sets import read_question_set
from realm_tf.errors import BadRecordError

HEADER = "query-id\tcorpus-id\tscore\n"


@pytest.fixture
def folder(tmp_path):
    """A miniature: four documents, three queries, two splits."""
    (tmp_path / "qrels").mkdir()
    documents = [
        {"_id": f"d{i}", "title": f"Title {i}", "text": f"Text {i}."}
        for i in range(4)
    ]
    queries = [{"_id": f"q{i}", "text": f"query {i}"} for i in range(3)]
    for name, records in (("corpus", documents), ("queries", queries)):
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (tmp_path / f"{name}.jsonl").write_text(lines)
    (tmp_path / "qrels/test.tsv").write_text(
        HEADER + "q1\td3\t1\nq0\td0\t2\nq1\td2\t1\nq0\td1\t0\n"
    )
    (tmp_path / "qrels/train.tsv").write_text(HEADER + "q2\td1\t1\n")
    return tmp_path


def test_questions_have_their_relevant_passages(folder):
    found = read_question_set(folder)
    assert found == read_beir(folder)
    assert [(q.question_id, q.split, q.passage_ids) for q in found] == [
        ("q1", "test", ("d3", "d2")),
        ("q0", "test", ("d0",)),
        ("q2", "train", ("d1",)),
    ]
    assert [q.question for q in found] == ["query 1", "query 0", "query 2"]
    assert not any(q.answers for q in found)


def test_articles_keep_their_ids(folder):
    found = list(read_articles(folder / "corpus.jsonl"))
    assert [(a.document_id, a.title) for a in found[:2]] == [
        ("d0", "Title 0"),
        ("d1", "Title 1"),
    ]


@pytest.mark.parametrize("row", ["q9\td0\t1", "q0\td0", "q0\td0\thigh"])
def test_bad_judgements_are_named(folder, row):
    (folder / "qrels/test.tsv").write_text(f"{HEADER}q1\td3\t1\n{row}\n")
    with pytest.raises(BadRecordError, match="must be query-id.*line 3"):
        read_beir(folder)


def test_another_folder_is_refused(folder):
    (folder / "queries.jsonl").unlink()
    with pytest.raises(ValueError, match="must hold queries.jsonl and qrels"):
        read_question_set(folder)
