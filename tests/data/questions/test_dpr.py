import gzip

import pytest

from realm_tf.data.questions.dpr import decode_row, is_table
from realm_tf.data.questions.questions import read_questions
from realm_tf.errors import BadRecordError


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        ("q\t['Linda Davis']\n", ["Linda Davis"]),
        ("q\t[\"O'Brien\", 'x']\r\n", ["O'Brien", "x"]),
        ('q\t["a", "b"]', ["a", "b"]),
        ('q\t"[""(Harry) Lewis"", ""Lewis""]"\n', ["(Harry) Lewis", "Lewis"]),
        ("q\t[]", []),
    ],
)
def test_answers_are_lists_of_python_and_of_json(line, answers):
    assert decode_row(line.encode()) == {"question": "q", "answers": answers}


@pytest.mark.parametrize(
    "line",
    [
        "q\ta",
        "question,answer",
        "q\t['a'",
        "q\t['a']\tmore",
        "q\t__import__('os').getcwd()",
        "q\t" + "[" * 100_000,
        "q\t" + "-" * 100_000 + "1",
    ],
)
def test_other_rows_are_refused(line):
    with pytest.raises(ValueError, match="must be a question, a tab and a lis"):
        decode_row(line.encode())


def test_endless_row_is_refused():
    with pytest.raises(ValueError, match="must not be longer than"):
        decode_row(b"q" * 2**20 + b"\t[]")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("nq-test.qa.csv", "q\t['a']", True),
        ("nq-test.qa.csv", "q,a", True),
        ("questions.tsv.gz", "q\ta", True),
        ("questions.txt", "q\t['a']", True),
        ("questions.txt", '{"question": "q\t[a]"}', False),
        ("questions.csv", '{"question": "q"}', False),
        ("questions", "", False),
    ],
)
def test_tables_are_known_by_name_or_content(tmp_path, name, content, expected):
    (tmp_path / name).write_text(content)
    assert is_table(tmp_path / name) == expected


def test_bad_rows_are_named_or_skipped(tmp_path):
    path = tmp_path / "nq-dev.qa.csv.gz"
    text = "\ufeffWho?\t['a']\n\nWhen? 1815\nWhere?\t['\u00e9']\n"
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(BadRecordError, match="csv.gz, line 3"):
        read_questions(path)
    found = read_questions(path, skip_bad=True)
    assert [(q.question_id, q.question, q.answers) for q in found] == [
        ("nq-dev.qa.csv.gz:1", "Who?", ("a",)),
        ("nq-dev.qa.csv.gz:4", "Where?", ("\u00e9",)),
    ]
