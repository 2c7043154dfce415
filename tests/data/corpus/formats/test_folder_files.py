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
        ("x.json", '{"body": "a"}'),
        ("x.json", "damaged"),
        ("x.csv", "text,b"),
        ("x.csv", ""),
        ("x.tsv", "1\ta\tb"),
    ],
)
def test_what_may_hold_articles_is_read(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert listed(tmp_path) == [(tmp_path / name, name[2:])]


def test_links_are_followed_within_the_folder_only(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside / "sub", outside):
        folder.mkdir(parents=True)
        (folder / "a.text").touch()
    targets = {
        "file.text": outside / "a.text",
        "folder": outside,
        "loop": inside,
        "self.text": inside / "self.text",
        "within.text": inside / "sub" / "a.text",
    }
    for name, target in targets.items():
        (inside / name).symlink_to(target)
    out = "a link out of the folder; name the file itself"
    assert listed(inside) == [
        LeftOut(inside / "file.text", out),
        LeftOut(inside / "folder", out),
        LeftOut(inside / "loop", "a link to a folder"),
        LeftOut(inside / "self.text", "a link to itself"),
        (inside / "sub" / "a.text", "text"),
        (inside / "within.text", "text"),
    ]


def test_a_manifest_of_others_hides_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "manifest.json").write_text('{"name": "extension"}')
    (tmp_path / "a" / "b.text").touch()
    found = listed(tmp_path)
    assert found == [
        (tmp_path / "a" / "b.text", "text"),
        LeftOut(tmp_path / "a" / "manifest.json", "a manifest"),
    ]
