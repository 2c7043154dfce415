import bz2

import pytest

from realm_tf.data.corpus import wikipedia_dump
from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.decompressed_file import DecompressedFile
from realm_tf.data.corpus.wikipedia_dump import parse_page, read_pages

PAGE = (
    "<page><title>{title}</title><ns>{ns}</ns><id>{id}</id>{redirect}"
    "<revision><id>9</id><text>{text}</text></revision></page>"
)


def page(title="Emma", ns=0, id=1, redirect="", text="A novel."):
    return PAGE.format(title=title, ns=ns, id=id, redirect=redirect, text=text)


def pages(tmp_path, text):
    path = tmp_path / "dump.xml"
    path.write_text(text, encoding="utf-8")
    with DecompressedFile(path) as file:
        return [(line, data.decode()) for line, data in read_pages(file)]


def test_pages_are_found_whatever_the_lines(tmp_path):
    one, two, three = (page(id=i) for i in range(3))
    two = two.replace("><", ">\n  <")
    text = f"<mediawiki>\n{one}{one}\n  {two}\n\n{three}</mediawiki>"
    found = pages(tmp_path, text)
    assert [data for _, data in found] == [one, one, two, three]
    assert [line for line, _ in found][:3] == [2, 2, 3]


def test_page_without_end_costs_that_page_only(tmp_path):
    broken = page(id=1).removesuffix("</page>")
    text = f"<mediawiki>\n{broken}\n{page(id=2)}\n{broken}\n"
    found = pages(tmp_path, text)
    assert [data.endswith("</page>") for _, data in found] == [
        False,
        True,
        False,
    ]


def test_page_that_is_too_long_is_cut_and_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(wikipedia_dump, "MAX_PAGE_BYTES", 1_000)
    lines = page(text="word\n" * 5_000)
    found = pages(tmp_path, f"<mediawiki>\n{lines}\n{page(id=7)}")
    assert [len(data) for _, data in found] == [1_001, len(page())]
    with pytest.raises(ValueError, match="must not be longer than 1000"):
        parse_page(found[0][1].encode())
    assert parse_page(found[1][1].encode()).document_id == "7"


def test_parse_returns_the_article():
    data = page(title="R&amp;B", id=12, text="One &amp;amp; &lt;ref&gt;")
    assert parse_page(data.encode()) == Article("12", "R&B", "One &amp; <ref>")


def test_parse_leaves_out_what_is_no_article():
    assert parse_page(page(ns=1).encode()) is None
    redirect = '<redirect title="Emma (novel)" />'
    assert parse_page(page(redirect=redirect).encode()) is None


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (
            page().replace("</text>", ""),
            "well-formed XML. Received: mismatched",
        ),
        (page(text="&bomb;"), "well-formed XML. Received: undefined entity"),
        ("<page><!DOCTYPE a></page>", "well-formed XML"),
        (page().replace("title>", "name>"), "must have title"),
        (page().replace("text>", "words>"), "must have text"),
    ],
)
def test_parse_refuses_bad_pages(data, match):
    with pytest.raises(ValueError, match=match):
        parse_page(data.encode())


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_dump_in_utf_16_is_told(tmp_path, encoding):
    path = tmp_path / "dump.xml"
    path.write_bytes(f"\ufeff<mediawiki>\n{page()}".encode(encoding))
    with DecompressedFile(path) as file:
        [(line, data)] = read_pages(file)
    assert line == 1
    with pytest.raises(ValueError, match="in UTF-8. Received: UTF-16"):
        parse_page(data)


def test_entity_bomb_is_never_expanded(tmp_path):
    entities = "".join(
        f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(9)
    )
    prolog = f'<?xml version="1.0"?><!DOCTYPE m [<!ENTITY e0 "x">{entities}]>'
    [(_, data)] = pages(tmp_path, f"{prolog}<mediawiki>{page(text='&e9;')}")
    with pytest.raises(ValueError, match="undefined entity"):
        parse_page(data.encode())


def test_cut_bzip2_is_refused(tmp_path):
    path = tmp_path / "dump.xml.bz2"
    whole = bz2.compress(("<mediawiki>\n" + page() * 100).encode())
    path.write_bytes(whole[: len(whole) // 2])
    with (
        pytest.raises(ValueError, match=r"dump\.xml\.bz2 is damaged"),
        DecompressedFile(path) as file,
    ):
        list(read_pages(file))
