import json

import pytest

from realm_tf.data.corpus.articles import read_articles
from realm_tf.data.questions.beir import read_beir, read_queries
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
    assert [q.relevances for q in found] == [(), (2,), ()]


def test_articles_keep_their_ids(folder):
    found = list(read_articles(folder / "corpus.jsonl"))
    assert [(a.document_id, a.title) for a in found[:2]] == [
        ("d0", "Title 0"),
        ("d1", "Title 1"),
    ]


@pytest.mark.parametrize("row", ["q0\td0", "q0\td0\thigh"])
def test_bad_judgements_are_named(folder, row):
    (folder / "qrels/test.tsv").write_text(f"{HEADER}q1\td3\t1\n{row}\n")
    with pytest.raises(BadRecordError, match="must be query.*line 3"):
        read_beir(folder)


def test_judgements_of_unknown_questions_are_counted(folder, caplog):
    (folder / "qrels/test.tsv").write_text(
        f"{HEADER}q1\td3\t1\nq9\td0\t1\nq9\td1\t1\n"
    )
    found = read_beir(folder)
    assert [question.question_id for question in found] == ["q1", "q2"]
    assert "judgements of 1 questions that are not in" in caplog.text
    assert "the first q9." in caplog.text


def test_ids_may_be_numbers(folder):
    (folder / "queries.jsonl").write_text('{"_id": 7, "text": "query"}\n')
    (folder / "qrels/test.tsv").write_text(f"{HEADER}7\t3\t1\n")
    (folder / "qrels/train.tsv").unlink()
    [question] = read_beir(folder)
    assert (question.question_id, question.passage_ids) == ("7", ("3",))


def test_the_folder_is_a_corpus_without_its_queries(folder):
    ids = [article.document_id for article in read_articles(folder)]
    assert ids == ["d0", "d1", "d2", "d3"]


def test_another_folder_is_refused(folder):
    (folder / "queries.jsonl").unlink()
    with pytest.raises(ValueError, match="must hold queries.jsonl and qrels"):
        read_question_set(folder)


def test_queries_are_read_without_their_judgements(folder, tmp_path):
    expected = [(f"q{i}", f"query {i}") for i in range(3)]
    topics = tmp_path / "topics.tsv"
    topics.write_text("".join("\t".join(pair) + "\n" for pair in expected))
    for path in (folder / "queries.jsonl", topics):
        found = read_queries(path)
        assert [(q.question_id, q.question) for q in found] == expected
    topics.write_text("q0\tquery 0\n\nquery 1\n")
    with pytest.raises(BadRecordError, match="with a tab between.*line 3"):
        read_queries(topics)
