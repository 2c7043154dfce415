import pytest

from realm_tf.errors import FolderError, LockedError
from realm_tf.pipelines.shared_work import SharedWork


@pytest.fixture
def work(tmp_path):
    return SharedWork(tmp_path / "corpus", {"sources": "a"})


def test_first_step_keeps_the_folder_and_the_last_removes_it(work, tmp_path):
    with work.opened(keep=True):
        assert work.folder.is_dir()
    with work.working():
        (work.folder / "part").touch()
    with work.opened(keep=False):
        assert (work.folder / "part").exists()
    assert list(tmp_path.iterdir()) == []


def test_who_holds_the_folder_keeps_others_out(work, tmp_path):
    other = SharedWork(tmp_path / "corpus", {"sources": "b"})
    with work.held():
        with (
            pytest.raises(LockedError, match="being written by process"),
            other.opened(keep=True),
        ):
            pass
        with work.opened(keep=False):  # the last step
            assert work.folder.is_dir()
        assert work.folder.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_plans_have_folders_of_their_own(work, tmp_path):
    other = SharedWork(tmp_path / "corpus", {"sources": "b"})
    assert work.folder != other.folder
    with work.opened(keep=True):
        pass
    with other.opened(keep=True):
        pass
    with (
        pytest.raises(FolderError, match="start one pipeline at a time"),
        work.working(),
    ):
        pass


def test_folder_that_exists_is_refused(work):
    work.path.mkdir()
    with (
        pytest.raises(FolderError, match="path that does not exist yet"),
        work.opened(keep=True),
    ):
        pass
