import pytest

from realm_tf._replacement import make_temporary, publish, read_whole, tidy


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").touch()
    return path


def replace(path, name):
    temporary, _ = make_temporary(path)
    (temporary / name).touch()
    publish(temporary, path)


def names(path):
    return sorted(file.name for file in path.iterdir())


def test_the_new_folder_is_in_place(folder):
    replace(folder, "new")
    assert names(folder) == ["new"]


def test_what_was_replaced_meanwhile_is_read_again(folder):
    tries = []

    def read():
        found = names(folder)
        tries.append(found)
        if len(tries) == 1:
            replace(folder, "new")
            raise ValueError("half of two folders")
        return found

    assert read_whole(folder, read) == ["new"]
    assert len(tries) == 2


def test_an_error_of_a_folder_that_stays_is_raised(folder):
    with pytest.raises(ZeroDivisionError):
        read_whole(folder, lambda: 1 / 0)
    with pytest.raises(ValueError, match="invalid literal"):
        read_whole(folder, lambda: int("x"))


def test_leftovers_are_removed_unless_their_writer_lives(folder):
    temporary, _ = make_temporary(folder)
    dead = folder.with_name(".folder.writing-1-a")
    dead.mkdir()
    other = folder.with_name(".folder2.writing-1-a")
    other.mkdir()
    tidy(folder)
    assert temporary.exists() and other.exists() and not dead.exists()


def test_a_folder_between_two_renames_comes_back(folder):
    folder.rename(folder.with_name(".folder.writing-1-a-replaced"))
    assert read_whole(folder, lambda: names(folder)) == ["old"]
