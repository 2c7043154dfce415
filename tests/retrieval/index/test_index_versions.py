import os

import pytest

from realm_tf._manifest import read_manifest
from realm_tf.errors import FolderError
from realm_tf.retrieval.index import index_versions
from realm_tf.retrieval.index.journal import Journal


@pytest.fixture
def publish(tmp_path):
    """Publishes a version that holds one small file."""

    def publish(text="content"):
        def fill(writer):
            (writer.path / "file").write_text(text)
            writer.describe(counts={"num_blocks": 1})

        return index_versions.publish(tmp_path, fill)

    return publish


# The former format of updates, with the records b"old" and b"".
OLD = bytes.fromhex(
    "5254464a524e4c312f000000000000000200000000000000607494af"
    "03000000e5d45d3f6f6c640000000000000000"
)


def journal_of(root, version):
    folder = index_versions.version_folder(root, version)
    manifest = read_manifest(folder, index_versions.KIND)
    return Journal(
        index_versions.updates_file(root, version), manifest.fingerprint
    )


def test_versions_are_numbered_and_found(tmp_path, publish):
    assert [publish(), publish()] == [1, 2]
    assert index_versions.list_versions(tmp_path) == [1, 2]
    assert index_versions.find_version(tmp_path, None) == 2
    assert index_versions.find_version(tmp_path, 1) == 1


@pytest.mark.parametrize("version", [None, 3])
def test_a_missing_version_is_refused(tmp_path, version):
    with pytest.raises(FolderError, match=r"Received: versions=\[\]"):
        index_versions.find_version(tmp_path / "nothing", version)


def test_i16_a_version_without_manifest_is_not_there(tmp_path, publish):
    publish()
    (tmp_path / "v000002").mkdir()
    assert index_versions.find_version(tmp_path, None) == 1
    assert publish() == 3


def test_i17_a_version_is_never_overwritten(tmp_path, publish, monkeypatch):
    publish("first")
    monkeypatch.setattr(index_versions, "next_version", lambda root: 1)
    with pytest.raises(FolderError, match="path that does not exist yet"):
        publish("second")
    assert (tmp_path / "v000001" / "file").read_text() == "first"


def test_the_three_newest_versions_are_kept(tmp_path, publish):
    for _ in range(5):
        publish()
    assert index_versions.list_versions(tmp_path) == [3, 4, 5]
    assert sorted(os.listdir(tmp_path)) == [
        "v000003",
        "v000003.updates",
        "v000004",
        "v000004.updates",
        "v000005",
        "v000005.updates",
    ]


def test_w01_leftovers_of_dead_writers_are_removed(tmp_path, publish):
    publish()
    publish()
    (tmp_path / ".v000003.writing-123-abc").mkdir()
    (tmp_path / ".v000003.updates.writing-123-abc").touch()
    (tmp_path / "v000001" / "manifest.json").unlink()  # half removed
    (tmp_path / "v000009").mkdir()  # a copy that still runs
    publish()
    assert not any(p.name.startswith(".v") for p in tmp_path.iterdir())
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == [
        "v000002",
        "v000009",
        "v000010",
    ]


def test_w05_order_is_by_number_not_by_time(tmp_path, publish):
    publish()
    publish()
    os.utime(tmp_path / "v000001", (2**31, 2**31))
    assert index_versions.find_version(tmp_path, None) == 2


def test_w11_republish_brings_files_and_updates_back(tmp_path, publish):
    publish("old")
    journal_of(tmp_path, 1).append(b"update")
    publish("new")
    assert index_versions.republish(tmp_path, 1) == 3
    assert (tmp_path / "v000003" / "file").read_text() == "old"
    assert journal_of(tmp_path, 3).records() == [b"update"]


def test_republish_writes_the_former_format_of_updates_anew(tmp_path, publish):
    publish()
    index_versions.updates_file(tmp_path, 1).write_bytes(OLD)
    assert index_versions.republish(tmp_path, 1) == 2
    assert journal_of(tmp_path, 2).records() == [b"old", b""]


def test_republish_refuses_damaged_updates(tmp_path, publish):
    publish()
    journal_of(tmp_path, 1).append(b"update")
    file = index_versions.updates_file(tmp_path, 1)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(FolderError, match=str(file)):
        index_versions.republish(tmp_path, 1)
    assert index_versions.list_versions(tmp_path) == [1]
    assert not index_versions.updates_file(tmp_path, 2).exists()


def test_w11_republish_copies_where_links_do_not_work(
    tmp_path, publish, monkeypatch
):
    def refuse(source, target):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    publish("old")
    assert index_versions.republish(tmp_path, 1) == 2
    assert (tmp_path / "v000002" / "file").read_text() == "old"


def test_republish_refuses_a_damaged_version(tmp_path, publish):
    publish("old")
    (tmp_path / "v000001" / "file").write_text("odd")
    with pytest.raises(FolderError, match="sha256"):
        index_versions.republish(tmp_path, 1)
    assert index_versions.list_versions(tmp_path) == [1]


def test_a_version_is_copied_to_another_index(tmp_path, publish):
    publish("old")
    journal_of(tmp_path, 1).append(b"update")
    publish("new")
    other = tmp_path / "other"
    other.mkdir()
    assert index_versions.copy_version(tmp_path, 1, other) == 1
    assert (other / "v000001" / "file").read_text() == "old"
    assert journal_of(other, 1).records() == [b"update"]
    assert index_versions.list_versions(tmp_path) == [1, 2]
