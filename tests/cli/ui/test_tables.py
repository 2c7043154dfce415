import json

import pytest

from realm_tf.cli.ui.tables import folder_bytes, show_facts, show_table

FACTS = {
    "path": "a\x1b[31m",
    "num_blocks": 1234567,
    "bytes": 3 * 2**20,
    "valid": True,
    "f1": 0.51239,
    "split": None,
    "versions": [1, 2],
    "searcher_recall": {"at_5": 0.99},
    "fingerprint": "0123456789abcdef" * 4,
}


def test_facts_for_programs_are_complete(capsys):
    show_facts(FACTS, as_json=True)
    assert json.loads(capsys.readouterr().out) == FACTS


@pytest.mark.parametrize(
    "line",
    [
        "path             a␛[31m",
        "blocks           1,234,567",
        "bytes            3.0 MiB",
        "valid            yes",
        "f1               0.5124",
        "split            -",
        "versions         1, 2",
        "searcher recall  at_5 0.9900",
        "fingerprint      0123456789abcdef",
    ],
)
def test_facts_for_people_are_readable(line, capsys):
    show_facts(FACTS, as_json=False)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert line in lines


def test_tables_have_a_title_and_names_on_the_left(capsys):
    rows = [("a\x1b", 0.51239, None), ("longer", 2, 1.0)]
    show_table("Title", ("", "f1", "recall"), rows)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "",
        "Title",
        "           f1  recall",
        "a␛      0.512       -",
        "longer      2   1.000",
    ]


def test_folder_bytes_counts_all_files_below(tmp_path):
    (tmp_path / "a").write_bytes(b"12")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(b"345")
    assert folder_bytes(tmp_path) == 5
