import bz2
import gzip
import json
import os

import pytest

from realm_tf.data.corpus.articles import (
    ArticleFiles,
    GivenArticles,
    read_articles,
)
from realm_tf.data.corpus.blocks import Article
from realm_tf.errors import BadRecordError


def ids(*args, **options):
    return [article.document_id for article in read_articles(*args, **options)]


def test_folder_is_read_in_the_order_of_its_paths(tmp_path):
    for name in ("b/x.txt", "a/z.md", "c.txt", ".hidden.txt", "b/.git/y.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("Text.")
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    assert ids(tmp_path) == ["a/z.md", "b/x.txt", "c.txt"]
    with pytest.raises(BadRecordError, match=r"image\.png, line 1"):
        ids(tmp_path, "text")
    assert len(ids(tmp_path, "text", skip_bad=True)) == 3


def test_title_of_a_text_is_the_file_name(tmp_path):
    (tmp_path / "Jane Austen.txt").write_text("She wrote.")
    assert list(read_articles(tmp_path)) == [
        Article("Jane Austen.txt", "Jane Austen", "She wrote.")
    ]


def test_generated_ids_differ_between_folders(tmp_path):
    paths = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        paths.append(tmp_path / name / "data.jsonl")
        paths[-1].write_text('{"text": "x"}\n{"text": "y"}')
    assert ids(paths) == [
        "a/data.jsonl:1",
        "a/data.jsonl:2",
        "b/data.jsonl:1",
        "b/data.jsonl:2",
    ]
    assert ids(paths[0]) == ["data.jsonl:1", "data.jsonl:2"]


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress])
def test_compression_is_found_by_content(tmp_path, compress):
    path = tmp_path / "data.jsonl"
    path.write_bytes(compress(b'{"id": "1", "text": "x"}'))
    assert ids(path) == ["1"]


def test_wikiextractor_folder_leaves_navigation_out(tmp_path):
    (tmp_path / "AA").mkdir()
    titles = ["Emma", "List of novels", "Mercury (disambiguation)"]
    lines = [
        json.dumps({"id": str(i), "title": title, "text": f"{title}\n\nText."})
        for i, title in enumerate(titles)
    ]
    (tmp_path / "AA" / "wiki_00").write_text("\n".join(lines))
    assert ids(tmp_path) == ["0"]
    assert ids(tmp_path, skip_navigation=False) == ["0", "1", "2"]
    # The titles of other formats are their owners' business.
    assert ids(tmp_path, "jsonl") == ["0", "1", "2"]
    assert ids(tmp_path, "jsonl", skip_navigation=True) == ["0"]


def test_dump_is_stripped_and_counted(tmp_path):
    page = (
        "<page><title>{0}</title><ns>{1}</ns><id>{2}</id>{3}"
        "<revision><text>{4}</text></revision></page>\n"
    )
    pages = [
        page.format("Emma", 0, 1, "", "'''Emma''' is."),
        page.format("Talk:Emma", 1, 2, "", "Hm."),
        page.format("E", 0, 3, '<redirect title="Emma"/>', "#REDIRECT"),
        page.format("List of novels", 0, 4, "", "Emma"),
        page.format("Bad", 0, 5, "", "&bomb;"),
        page.format("Deep", 0, 6, "", "{{" * 1_000 + "}}" * 1_000),
        page.format("Last", 0, 7, "", "The end."),
    ]
    path = tmp_path / "dump.xml.bz2"
    path.write_bytes(
        bz2.compress(f"<mediawiki>\n{''.join(pages)}</mediawiki>".encode())
    )
    with pytest.raises(BadRecordError, match=r"dump\.xml\.bz2, line 6"):
        list(read_articles(path))
    assert list(read_articles(path, skip_bad=True)) == [
        Article("1", "Emma", "Emma is."),
        Article("7", "Last", "The end."),
    ]
    files = ArticleFiles(path, skip_bad=True)
    assert [source.finished() is None for source in files] == [
        False,
        True,
        False,
    ]
    assert (files.num_bad, files.num_left_out) == (1, 3)


def test_bad_record_names_file_and_line(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"text": "a"}\n\n{"text": 5}\n{"text": "b"}')
    with pytest.raises(
        BadRecordError, match=r"`text` must be text.*data\.jsonl, line 3.*skip"
    ):
        ids(path)
    assert ids(path, skip_bad=True) == ["data.jsonl:1", "data.jsonl:4"]
    files = ArticleFiles(path, skip_bad=True)
    for _ in range(2):  # it counts anew
        assert len(list(files)) == 2
        assert files.num_bad == 1


def test_fraction_read_grows_to_one(tmp_path):
    paths = []
    for name in ("a.jsonl", "b.jsonl"):
        paths.append(tmp_path / name)
        paths[-1].write_text('{"text": "a"}\n' * 3_000)
    files = ArticleFiles(paths)
    assert files.fraction_read == 0
    fractions = [files.fraction_read for _ in files]
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] < 0.5 < fractions[-1]
    assert files.fraction_read == 1


def test_identity_changes_with_the_files(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}')
    first = ArticleFiles(path).identity
    assert ArticleFiles(path).identity == first
    path.write_text('{"text": "ab"}')
    assert ArticleFiles(path).identity != first
    assert GivenArticles([]).identity is None


def test_given_articles_are_checked(articles):
    bad = Article("1", "Emma", "half a pair: \ud800")
    navigation = Article("2", "List of novels", "Emma")
    given = [articles[0], bad, navigation, articles[1]]
    with pytest.raises(BadRecordError, match=r"character 13.*line 2"):
        list(GivenArticles(given))
    source = GivenArticles(given, skip_bad=True, skip_navigation=True)
    kept = [item.article.document_id for item in source]
    assert kept == ["doc-0", "doc-1"]
    assert (source.num_bad, source.num_left_out) == (1, 1)
    assert source.fraction_read == 1
    assert GivenArticles(iter(given)).fraction_read == 0


@pytest.mark.parametrize(
    ("sources", "format", "match"),
    [
        ([], "auto", "at least one file.*no path"),
        (["none.txt"], "auto", r"files and folders. Received: none\.txt"),
        (["a.png"], "auto", "format of a file must be known.*a.png"),
        (["empty"], "auto", "at least one file of articles. Received: empty"),
        (["a.png"], "parquet", "`format` must be auto, jsonl"),
    ],
)
def test_bad_sources_are_refused(tmp_path, monkeypatch, sources, format, match):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=match):
        ArticleFiles(sources, format)


def test_files_of_other_kinds_are_counted_and_named(tmp_path, caplog):
    own = {"kind": "corpus", "format_version": 1, "library_version": "1"}
    files = {
        "README": "Emma is a novel.",
        "a.csv": "text\nOne.\n",
        "b.md": "# Two\n\nA *text*.",
        "c.html": "<p>Three.</p>",
        "d.rst": "Four.",
        "e.json": '[{"text": "Five."}]',
        "corpus/manifest.json": json.dumps(own),
        "corpus/updates.jsonl": '{"text": "no"}',
        "f.docx": "PK",
        "figures.csv": "year,price\n1815,2\n",
        "g.pdf": "%PDF",
        "package.json": '{\n "text": "npm"\n}',
        "h.json": '{"name": "settings"}',
        "qrels/test.tsv": "query-id\tcorpus-id\tscore\n1\t2\t1\n",
        "queries.jsonl": '{"_id": "1", "text": "Who?"}',
        "judged.tsv": "query-id\tcorpus-id\tscore\n1\t2\t1\n",
        ".hidden.md": "no",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "nowhere").symlink_to(tmp_path / "none")
    source = ArticleFiles(tmp_path)
    titles = {item.article.title: item.article.text for item in source}
    assert titles.pop("README") == "Emma is a novel."
    assert titles.pop("Two") == "Two\nA text."
    assert sorted(titles.values()) == ["Five.", "Four.", "Three."]
    assert len(list(source)) == 6
    left_out = {path.name: why for path, why in source.files_left_out}
    assert left_out == {
        "corpus": "a folder of realm_tf, corpus",
        "f.docx": ".docx is not read",
        "figures.csv": "no column is named text",
        "g.pdf": ".pdf is not read",
        "h.json": "its first record has no text",
        "judged.tsv": "judgements, not documents",
        "nowhere": "no file, or a link to none",
        "package.json": "of npm",
        "qrels": "judgements, not documents",
        "queries.jsonl": "questions, not documents",
    }
    assert "Left out 10 files and folders" in caplog.text
    assert "g.pdf (.pdf is not read)" in caplog.text


def test_a_folder_without_articles_says_what_it_holds(tmp_path):
    (tmp_path / "a.pdf").write_text("%PDF")
    with pytest.raises(ValueError, match=r"a.pdf \(.pdf is not read\)"):
        ArticleFiles(tmp_path)


def test_a_file_name_that_is_no_utf8_is_told_by_its_bytes(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    with open(path, "w") as file:
        file.write("Emma.")
    (tmp_path / "b.txt").write_text("Two.")
    ids = [item.article.document_id for item in ArticleFiles(tmp_path)]
    assert sorted(ids) == ["b.txt", "caf\\xe9.txt"]


def test_shards_together_hold_the_same_articles(tmp_path):
    for name in ("a/b.jsonl", "a/c.jsonl", "d.jsonl", "e.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"text": "Emma"}\n{}\n')
    whole = ArticleFiles(tmp_path, skip_bad=True)
    for num_bytes, sizes in ((1, [1] * 4), (30, [2, 2]), (10**6, [4])):
        shards = whole.shards(num_bytes)
        assert [len(shard.files) for shard in shards] == sizes
        assert [a for shard in shards for a in shard] == list(whole)
        assert sum(shard.num_bad for shard in shards) == whole.num_bad == 4
        assert sum(s.num_bytes for s in shards) == whole.num_bytes
