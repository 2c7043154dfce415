import bz2

import pytest

from realm_tf.data.corpus.articles import read_articles
from realm_tf.data.corpus.formats.namespaces import (
    hidden_namespaces,
    read_hidden_namespaces,
)

SITEINFO = (
    "<mediawiki>\n<siteinfo><namespaces>\n"
    '<namespace key="-2" case="first-letter">Medium</namespace>\n'
    '<namespace key="0" case="first-letter" />\n'
    '<namespace key="1" case="first-letter">Diskussion</namespace>\n'
    '<namespace key="6" case="first-letter">Datei</namespace>\n'
    '<namespace key="14" case="first-letter">Art &amp; Kunst</namespace>\n'
    "</namespaces></siteinfo>\n"
)
TEXT = (
    "A[[Datei:a.jpg|x]][[Bild:a.jpg|x]][[Image:x]][[Kategorie:x]]"
    "[[Art &amp; Kunst:B]][[Fichier:C]]"
)


def page(id, text=TEXT):
    return (
        f"<page><title>Emma</title><id>{id}</id><revision><text>{text}"
        "</text></revision></page>\n"
    )


def test_siteinfo_names_the_hidden_namespaces(tmp_path):
    path = tmp_path / "dump.xml"
    path.write_text(SITEINFO + page(1))
    found = read_hidden_namespaces(path)
    own = {"medium", "datei", "art & kunst", "bild", "kategorie"}
    assert own | {"media", "file", "image", "category"} <= found
    assert not {"", "diskussion", "fichier"} & found


@pytest.mark.parametrize(
    "head", ["", "<mediawiki>\n", "<siteinfo></siteinfo>\n"]
)
def test_names_of_many_languages_stand_in_for_siteinfo(tmp_path, head):
    path = tmp_path / "dump.xml"
    path.write_text(head + page(1))
    found = read_hidden_namespaces(path)
    assert {"datei", "fichier", "kategorie", "catégorie", "файл"} <= found
    assert found == hidden_namespaces()


def test_names_on_pages_are_none_of_the_wiki(tmp_path):
    path = tmp_path / "dump.xml"
    path.write_text(page(1, '<namespace key="6">Emma</namespace>'))
    assert "emma" not in read_hidden_namespaces(path)


def test_each_file_of_a_dump_in_several_has_its_own(tmp_path):
    # The first is as those of multistream dumps.
    first = bz2.compress(SITEINFO.encode()) + bz2.compress(page(1).encode())
    (tmp_path / "dump1.xml.bz2").write_bytes(first)
    (tmp_path / "dump2.xml.bz2").write_bytes(bz2.compress(page(2).encode()))
    texts = [article.text for article in read_articles(tmp_path)]
    assert texts == ["AFichier:C", "AArt & Kunst:B"]
