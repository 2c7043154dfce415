import os

import pytest

from realm_tf.data.corpus.work_folder import open_work_folder, work_path
from realm_tf.errors import FolderError, LockedError


def leave(path, plan, name):
    """A run that leaves a file and is stopped."""
    with pytest.raises(KeyboardInterrupt), open_work_folder(path, plan) as work:
        (work / name).touch()
        raise KeyboardInterrupt


def test_same_plan_finds_what_was_left(tmp_path):
    path = tmp_path / "corpus"
    leave(path, {"a": [1, "b"]}, "part")
    with open_work_folder(path, {"a": [1, "b"]}) as work:
        assert (work / "part").exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("plan", [{"a": 2}, None])
def test_other_plan_starts_anew(tmp_path, plan):
    path = tmp_path / "corpus"
    leave(path, {"a": 1}, "part")
    with open_work_folder(path, plan) as work:
        assert not (work / "part").exists()


def test_unknown_plan_leaves_nothing(tmp_path):
    leave(tmp_path / "corpus", None, "part")
    assert list(tmp_path.iterdir()) == []


def test_damaged_plan_starts_anew(tmp_path):
    path = tmp_path / "corpus"
    leave(path, {"a": 1}, "part")
    (tmp_path / ".corpus.building" / "plan.json").write_text("{")
    with open_work_folder(path, {"a": 1}) as work:
        assert not (work / "part").exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_plan_that_is_no_file_starts_anew(tmp_path, make):
    path = tmp_path / "corpus"
    leave(path, {"a": 1}, "part")
    plan = tmp_path / ".corpus.building" / "plan.json"
    plan.unlink()
    make(plan)
    with open_work_folder(path, {"a": 1}) as work:
        assert not (work / "part").exists()


def test_leftovers_of_a_killed_writer_are_removed(tmp_path):
    (tmp_path / ".corpus.writing-17-ab" / "scann").mkdir(parents=True)
    (tmp_path / ".corpus2.writing-17-ab").mkdir()
    with open_work_folder(tmp_path / "corpus", {}):
        pass
    names = [path.name for path in tmp_path.iterdir()]
    assert names == [".corpus2.writing-17-ab"]


def test_second_builder_is_refused(tmp_path):
    path = tmp_path / "corpus"
    with (
        open_work_folder(path, {}),
        pytest.raises(LockedError, match="corpus.building is being written"),
        open_work_folder(path, {}),
    ):
        pass
    with open_work_folder(path, {}):
        pass  # the lock is released


def test_files_of_a_killed_builder_are_removed(tmp_path):
    path = tmp_path / "corpus"
    leave(path, {"a": 1}, ".part.npz.writing-17-ab")
    with open_work_folder(path, {"a": 1}) as work:
        assert not list(work.glob("*writing*"))


def test_existing_folder_is_refused_and_leftovers_go(tmp_path):
    path = tmp_path / "corpus"
    leave(path, {}, "part")
    path.mkdir()
    with (
        pytest.raises(FolderError, match="does not exist yet.*corpus"),
        open_work_folder(path, {}),
    ):
        pass
    assert list(tmp_path.iterdir()) == [path]


def test_folder_is_kept_for_the_same_plan_if_asked(tmp_path):
    path = tmp_path / "corpus"
    with open_work_folder(path, {"a": 1}, keep=True) as work:
        (work / "part").touch()
    assert (work_path(path) / "part").exists()
    with open_work_folder(path, {"a": 1}) as work:
        assert (work / "part").exists()
    assert list(tmp_path.iterdir()) == []
