import gzip

import pytest

from realm_tf.errors import BadRecordError
from realm_tf.evaluation.trec_run import read_run, write_run

RUN = {"q1": {"a": 0.1, "b": 1 / 3, "c": 0.1}, "q2": {"é": -2.5e-7}}


def test_a_run_is_written_and_read_back(tmp_path):
    path = tmp_path / "run.trec"
    write_run(RUN, path, tag="ours")
    assert path.read_text("utf-8") == (
        "q1 Q0 b 1 0.3333333333333333 ours\n"
        "q1 Q0 c 2 0.1 ours\n"  # ties as trec_eval breaks them
        "q1 Q0 a 3 0.1 ours\n"
        "q2 Q0 é 1 -2.5e-07 ours\n"
    )
    assert read_run(path) == RUN


def test_runs_of_others_are_read(tmp_path):
    path = tmp_path / "run.gz"
    lines = b"q1\tQ0\ta\t7\t3\tbm25\r\n\nq1 0 b 9 4.5 bm25\n"
    path.write_bytes(gzip.compress(lines))
    assert read_run(path) == {"q1": {"a": 3.0, "b": 4.5}}


@pytest.mark.parametrize(
    "line",
    ["q1 Q0 a 1 0.5", "q1 Q0 a 1 high x", "q1 Q0 a 1 nan x", "q1 Q0 b 2 0.5 x"],
)
def test_lines_that_are_none_of_a_run_are_named(line, tmp_path):
    path = tmp_path / "run"
    path.write_text(f"q1 Q0 b 1 1.0 x\n{line}\n")
    with pytest.raises(BadRecordError, match="must be query, Q0.*line 2"):
        read_run(path)


def test_an_empty_run_is_refused(tmp_path):
    (tmp_path / "run").write_text("\n")
    with pytest.raises(ValueError, match="at least one line"):
        read_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("run", "tag", "what"),
    [
        ({"q 1": {"a": 1.0}}, "x", "query id"),
        ({"q": {"": 1.0}}, "x", "document id"),
        ({"q": {"a": 1.0}}, "a b", "tag"),
    ],
)
def test_names_with_white_space_are_refused(run, tag, what, tmp_path):
    with pytest.raises(ValueError, match=f"The {what} of a run must be"):
        write_run(run, tmp_path / "run", tag)
