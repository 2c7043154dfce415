import json
import pathlib

import pytest

from realm_tf.data.corpus.article_formats import (
    FORMATS,
    check_article,
    detect_format,
    is_navigation,
)
from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.decompressed_file import DecompressedFile
from realm_tf.data.corpus.formats.template_tally import TemplateTally

FIXTURES = pathlib.Path(__file__).parents[2] / "fixtures"


def parse(tmp_path, format, data):
    """Articles of a file's content; the text of the error where it is bad."""
    path = tmp_path / "file"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    results = []
    records, parse_record, *_ = FORMATS[format]
    with DecompressedFile(path) as file:
        for line, record in records(file):
            try:
                article = parse_record(record, f"file.x:{line}")
                results.append(check_article(article))
            except ValueError as error:
                results.append(str(error))
    return results


def test_json_lines_fill_in_what_is_missing(tmp_path):
    data = (
        b'\xef\xbb\xbf{"id": "a", "title": "Emma", "text": "One.", "x": 1}\r\n'
        b'\n{"text": "Two."}\n{"id": 3, "text": ""}'
    )
    assert parse(tmp_path, "jsonl", data) == [
        Article("a", "Emma", "One."),
        Article("file.x:3", "", "Two."),
        Article("3", "", ""),
    ]


@pytest.mark.parametrize(
    ("line", "match"),
    [
        (b"{", "valid JSON"),
        (b"[1]", "a JSON object"),
        (b'{"id": "a"}', "`text` must be given"),
        (b'{"text": 5}', "`text` must be text"),
        (b'{"text": "a", "title": null}', "`title` must be text"),
        (b'{"text": "a", "id": true}', "`id` must be text"),
        (b'{"text": "a", "id": ""}', "`document_id` must not be empty"),
        (b'{"text": "a", "text": "b"}', "Keys must not repeat"),
        (b'{"text": "\xff"}', "must be UTF-8"),
        (b'{"text": "\\ud800"}', "surrogate"),
        (b'{"text": "a", "title": "' + b"a" * 1_001 + b'"}', "1000 characters"),
        (b'{"text": "a", "id": "' + b"a" * 1_001 + b'"}', "1000 characters"),
    ],
)
def test_bad_json_lines_are_refused(tmp_path, line, match):
    good = b'{"id": "a", "text": "b"}'
    found = parse(tmp_path, "jsonl", line + b"\n" + good)
    assert match in found[0]
    assert found[1:] == [Article("a", "", "b")]


def test_tsv_in_the_order_of_dpr(tmp_path):
    data = 'id\ttext\ttitle\n1\t"She said ""so""."\tEmma\n\n2\tb\tc\n'
    expected = [
        Article("1", "Emma", 'She said "so".'),
        Article("2", "c", "b"),
    ]
    assert parse(tmp_path, "tsv", data) == expected
    assert parse(tmp_path, "tsv", data.partition("\n")[2]) == expected


def test_tsv_field_that_begins_with_a_quote_swallows_nothing(tmp_path):
    data = '1\t"Emma" is a novel.\tEmma\n2\t"never closed\tb\n3\t"c"\td\n'
    assert parse(tmp_path, "tsv", data) == [
        Article("1", "Emma", '"Emma" is a novel.'),
        Article("2", "b", '"never closed'),
        Article("3", "d", '"c"'),
    ]


def test_tsv_record_that_spans_lines_is_told(tmp_path):
    data = '1\t"One\nline."\tEmma\n2\tb\tc\n'
    first, second, third = parse(tmp_path, "tsv", data)
    assert "Received: 2 fields" in first and "must be one line" in first
    assert "Received: 2 fields" in second
    assert third == Article("2", "c", "b")


def test_tsv_with_a_header_in_any_order(tmp_path):
    data = "Title\tText\r\nEmma\tA novel.\r\n"
    assert parse(tmp_path, "tsv", data) == [
        Article("file.x:2", "Emma", "A novel.")
    ]


def test_bad_tsv_rows_are_refused(tmp_path):
    data = b"id\ttext\ttitle\n1\tonly two\n2\t\xff\ttitle\n3\tc\td\n"
    found = parse(tmp_path, "tsv", data)
    assert "fields id, text, title. Received: 2 fields" in found[0]
    assert "`text` must be text in UTF-8" in found[1]
    assert found[2] == Article("3", "d", "c")


def test_csv_is_quoted_and_has_a_header(tmp_path):
    data = '_id,title,text\n7,Emma,"One, ""two"",\nthree."\n8,b,c\n'
    assert parse(tmp_path, "csv", data) == [
        Article("7", "Emma", 'One, "two",\nthree.'),
        Article("8", "b", "c"),
    ]
    [found] = parse(tmp_path, "csv", "a,b\n1,2\n")
    assert "must have a header that names `text`" in found
    [found] = parse(tmp_path, "csv", 'text,id\n"never closed,2\n')
    assert "unexpected end of data" in found


def test_json_arrays_and_pretty_printed_objects_are_read(tmp_path):
    records = [{"_id": 1, "text": "One."}, {"id": "b", "text": "Two."}]
    expected = [Article("1", "", "One."), Article("b", "", "Two.")]
    for data in (
        json.dumps(records),
        json.dumps(records, indent=2),
        "\n".join(json.dumps(record, indent=2) for record in records),
    ):
        assert parse(tmp_path, "json", data) == expected
    found = parse(tmp_path, "json", json.dumps(records)[:-1])
    assert found[:2] == expected and "valid JSON" in found[2]
    assert "valid JSON" in parse(tmp_path, "json", '[{"text": "a"')[0]


def test_markdown_and_html_are_read_as_plain_text(tmp_path):
    found = parse(tmp_path, "markdown", "# Emma\n\nA *novel* of `1815`.\n")
    assert found == [Article("file.x", "Emma", "Emma\nA novel of 1815.")]
    assert parse(tmp_path, "markdown", "text")[0].title == "file"
    data = "<html><head><title>Emma</title></head><p>A <b>novel</b>."
    assert parse(tmp_path, "html", data) == [
        Article("file.x", "Emma", "A novel.")
    ]


def test_text_file_is_one_article(tmp_path):
    found = parse(tmp_path, "text", b"\xef\xbb\xbf# Emma\n\nA novel.\n")
    assert found == [Article("file.x", "file", "# Emma\n\nA novel.\n")]
    assert "must be text in UTF-8" in parse(tmp_path, "text", b"\xff")[0]


def test_text_file_that_is_too_long_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "realm_tf.data.corpus.article_formats.MAX_LINE_BYTES", 10
    )
    assert "not be longer than 10 bytes" in parse(tmp_path, "text", "a" * 11)[0]


def test_wikiextractor_lines_are_unescaped(tmp_path):
    record = {"id": "12", "url": "u", "title": "R&amp;B", "text": "A &lt; B"}
    assert parse(tmp_path, "wikiextractor", json.dumps(record)) == [
        Article("12", "R&B", "A < B")
    ]


def test_wikiextractor_elements_are_read(tmp_path):
    data = (
        '<doc id="12" url="u" title="R&amp;B">\nR&amp;B\n\nA &lt; B\n\n</doc>\n'
        '<doc id="13" url="u" title="Emma">\nEmma\n\nA novel.\n</doc>\n'
        '<doc id="14" url="u" title="Half">\nHalf\n'
    )
    first, second, third = parse(tmp_path, "wikiextractor", data)
    assert first == Article("12", "R&B", "A < B")
    assert second == Article("13", "Emma", "A novel.")
    assert "An element must be `<doc" in third


def test_text_of_orqa_is_the_body(tmp_path):
    data = (
        b'{"title": "Emma", "body": "One."}\n'
        b'{"id": "2", "text": "Two.", "body": "Three."}\n{"body": 4}'
    )
    first, second, third = parse(tmp_path, "jsonl", data)
    assert first == Article("file.x:1", "Emma", "One.")
    assert second == Article("2", "", "Two.")
    assert "`text` must be given" in third


def test_page_of_a_dump_is_stripped_when_it_is_finished(tmp_path):
    data = (
        "<mediawiki><page><title>Emma</title><id>1</id><revision>"
        "<text>'''Emma''' is {{nowrap|a novel}}.</text></revision></page>"
        "</mediawiki>"
    )
    [page] = parse(tmp_path, "wikipedia", data)
    tally = TemplateTally()
    finish = FORMATS["wikipedia"].finisher(tmp_path / "file")
    assert finish(page, tally) == Article("1", "Emma", "Emma is a novel.")
    assert tally.kept == {"nowrap": 1}
    assert finish(Article("1", "Emma", "{{" * 1_000), tally) is None


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.jsonl", b"", "jsonl"),
        ("a.JSON.gz", b"", "jsonl"),
        ("a.tsv.bz2", b"", "tsv"),
        ("a.txt", b"", "text"),
        ("a.md", b"{", "markdown"),
        ("a.rst", b"", "text"),
        ("a.HTM", b"", "html"),
        ("a.csv.gz", b"", "csv"),
        ("README", b"", "text"),
        ("a.json", b'[{"text": "a"}]', "json"),
        ("a.json", b'{\n"text": "a"}', "json"),
        ("a.jsonl", b'{"text": "a"}\n{', "jsonl"),
        ("corpus", b'<doc id="1"', "wikiextractor"),
        ("enwiki-pages-articles.xml.bz2", b"", "wikipedia"),
        ("wiki_00", b"", "wikiextractor"),
        ("wiki_117.bz2", b"", "wikiextractor"),
        ("corpus", b'\n {"text": "a"}', "jsonl"),
        ("corpus", b"\xef\xbb\xbf<mediawiki x>", "wikipedia"),
        ("corpus", b"anything", None),
        ("corpus", b"", None),
        ("a.png", b"{", None),
    ],
)
def test_detect_goes_by_name_then_content(tmp_path, name, data, expected):
    path = tmp_path / name
    path.write_bytes(data)
    assert detect_format(path) == expected


def test_navigation_is_what_the_official_code_removes():
    articles = json.loads((FIXTURES / "wiki_blocks.json").read_text())
    for article in articles:
        assert is_navigation(article["title"]) == article["removed"]
    assert sum(article["removed"] for article in articles) == 4


def test_strange_characters_are_kept():
    text = "a\x00b \u200fc 😀 e\u0301 \u202e"
    article = Article("1", text, text)
    assert check_article(article) == article
