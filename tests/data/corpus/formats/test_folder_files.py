import pytest

from realm_tf.data.corpus.formats.folder_files import LeftOut, list_folder


def listed(folder):
    return list(list_folder(folder, lambda path: path.suffix[1:] or None))


def test_files_come_in_the_order_of_their_paths(tmp_path):
    for name in ("b.text", "a/c.text", "a.text", ".git/x.text"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [
        path.relative_to(tmp_path).as_posix() for path, _ in listed(tmp_path)
    ]
    assert names == ["a/c.text", "a.text", "b.text"]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("package.json", "{}", "of npm"),
        ("queries.jsonl", "", "questions, not documents"),
        ("x.json", '[\n{"a": 1}]', "its first record has no text"),
        ("x.csv", "a,b", "no column is named text"),
        ("x.tsv", "query-id\tcorpus-id", "judgements, not documents"),
        ("x", "", "without a suffix is not read"),
    ],
)
def test_what_holds_no_articles_is_told(tmp_path, name, content, why):
    (tmp_path / name).write_text(content)
    assert listed(tmp_path) == [LeftOut(tmp_path / name, why)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.json", '{"text": "a"}'),
        ("x.json", "damaged"),
        ("x.csv", "text,b"),
        ("x.csv", ""),
        ("x.tsv", "1\ta\tb"),
    ],
)
def test_what_may_hold_articles_is_read(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert listed(tmp_path) == [(tmp_path / name, name[2:])]


def test_a_manifest_of_others_hides_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "manifest.json").write_text('{"name": "extension"}')
    (tmp_path / "a" / "b.text").touch()
    found = listed(tmp_path)
    assert found == [
        (tmp_path / "a" / "b.text", "text"),
        LeftOut(tmp_path / "a" / "manifest.json", "a manifest"),
    ]
