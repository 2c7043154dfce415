import errno
import hashlib
import json
import logging
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from realm_tf import _manifest, _replacement
from realm_tf._manifest import (
    FORMAT_VERSION,
    MANIFEST_NAME,
    open_folder,
    read_manifest,
    write_folder,
)
from realm_tf.errors import FolderError

COUNTS = {"num_blocks": 2}
FINGERPRINTS = {"tokenizer": "abc"}
OPTIONS = {"max_wordpieces": 288, "names": ["a", "ü"], "rate": 0.1}


def write(path, files=None, **options):
    with write_folder(path, "corpus", **options) as writer:
        for name, content in (files or {"a.txt": b"one"}).items():
            file = writer.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        writer.describe(
            counts=COUNTS, fingerprints=FINGERPRINTS, options=OPTIONS
        )


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "corpus"
    write(path, {"a.txt": b"one", "deep/b.bin": bytes(100)})
    return path


@pytest.fixture
def forge(folder):
    """Changes the manifest of `folder` as someone would who means harm."""

    def _forge(**changes):
        file = folder / MANIFEST_NAME
        content = json.loads(file.read_text()) | changes
        del content["sha256"]
        text = json.dumps(content, sort_keys=True)
        content["sha256"] = hashlib.sha256(text.encode()).hexdigest()
        file.write_text(json.dumps(content))

    return _forge


def leftovers(path):
    return [name for name in os.listdir(path) if name.startswith(".")]


def test_manifest_says_what_was_written(folder):
    manifest = read_manifest(folder, "corpus")
    assert manifest.kind == "corpus"
    assert manifest.counts == COUNTS
    assert manifest.fingerprints == FINGERPRINTS
    assert manifest.options == OPTIONS
    assert manifest.format_version == FORMAT_VERSION
    assert {name: file.size for name, file in manifest.files.items()} == {
        "a.txt": 3,
        "deep/b.bin": 100,
    }
    assert manifest.files["a.txt"].sha256 == hashlib.sha256(b"one").hexdigest()
    assert leftovers(folder.parent) == []


def test_describe_is_optional(tmp_path):
    with write_folder(tmp_path / "x", "index"):
        pass
    manifest = read_manifest(tmp_path / "x", "index")
    assert (manifest.counts, manifest.options, manifest.files) == ({}, {}, {})


def test_fingerprint_depends_on_content_only(folder, tmp_path):
    files = {"deep/b.bin": bytes(100), "a.txt": b"one"}
    write(tmp_path / "same", files)
    write(tmp_path / "other", files | {"a.txt": b"two"})
    first, same, other = (
        read_manifest(path, "corpus").fingerprint
        for path in (folder, tmp_path / "same", tmp_path / "other")
    )
    assert first == same != other


def test_fingerprint_ignores_the_library_version(folder, forge):
    before = read_manifest(folder, "corpus").fingerprint
    forge(library_version="0.0.9")
    assert read_manifest(folder, "corpus").fingerprint == before


def test_nested_folder_describes_itself(tmp_path):
    with write_folder(tmp_path / "preset", "preset") as writer:
        (writer.path / "config.json").write_text("{}")
        write(writer.path / "corpus")
    manifest = read_manifest(tmp_path / "preset", "preset")
    assert set(manifest.files) == {"config.json"}
    read_manifest(tmp_path / "preset" / "corpus", "corpus")


def test_parents_are_made(tmp_path):
    write(tmp_path / "a" / "b" / "corpus")
    read_manifest(tmp_path / "a" / "b" / "corpus", "corpus")


def test_current_directory_can_be_replaced(folder, monkeypatch):
    monkeypatch.chdir(folder)
    write(".", {"new.txt": b"new"}, overwrite=True)
    assert set(read_manifest(folder, "corpus").files) == {"new.txt"}


def test_link_is_followed_when_its_target_is_replaced(folder, tmp_path):
    link = tmp_path / "latest"
    link.symlink_to(folder)
    write(link, {"new.txt": b"new"}, overwrite=True)
    assert link.is_symlink()
    assert set(read_manifest(folder, "corpus").files) == {"new.txt"}


# Overwriting.


def test_existing_folder_is_kept_without_overwrite(folder):
    with pytest.raises(FolderError, match="does not exist yet") as caught:
        write(folder)
    assert str(folder) in str(caught.value)
    assert "deep/b.bin" in read_manifest(folder, "corpus").files


def test_overwrite_replaces_the_whole_folder(folder):
    write(folder, {"new.txt": b"new"}, overwrite=True)
    assert set(read_manifest(folder, "corpus").files) == {"new.txt"}
    assert sorted(os.listdir(folder)) == [MANIFEST_NAME, "new.txt"]
    assert leftovers(folder.parent) == []


def test_overwrite_takes_an_empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty", overwrite=True)
    read_manifest(tmp_path / "empty", "corpus")


def test_overwrite_never_replaces_foreign_files(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FolderError, match="which has none"):
        write(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_overwrite_never_replaces_a_file(tmp_path):
    (tmp_path / "notes").write_text("years of work")
    with pytest.raises(FolderError, match="which has none"):
        write(tmp_path / "notes", overwrite=True)
    assert (tmp_path / "notes").read_text() == "years of work"


def test_overwrite_never_replaces_another_kind(folder):
    with pytest.raises(FolderError, match="must be of kind 'index'.*'corpus'"):
        with write_folder(folder, "index", overwrite=True):
            pass
    read_manifest(folder, "corpus")


def test_folder_that_appears_meanwhile_is_kept(tmp_path):
    with pytest.raises(FolderError, match="does not exist yet"):
        with write_folder(tmp_path / "x", "corpus"):
            write(tmp_path / "x", {"other.txt": b"other"})
    assert set(read_manifest(tmp_path / "x", "corpus").files) == {"other.txt"}


@pytest.fixture(params=["exchange", "two renames"])
def way(request, monkeypatch):
    """How folders are replaced: at once, or where the system cannot."""
    if request.param == "two renames":
        monkeypatch.setattr(_replacement, "exchange", lambda *_: False)
    return request.param


def test_old_folder_comes_back_when_the_new_one_cannot_be_placed(
    folder, monkeypatch
):
    rename = pathlib.Path.rename

    def failing(self, target):
        if target == folder and not self.name.endswith("-replaced"):
            raise OSError(errno.EIO, "disk trouble")
        return rename(self, target)

    monkeypatch.setattr(_replacement, "exchange", lambda *_: False)
    monkeypatch.setattr(pathlib.Path, "rename", failing)
    with pytest.raises(OSError, match="disk trouble"):
        write(folder, {"new.txt": b"new"}, overwrite=True)
    assert "deep/b.bin" in read_manifest(folder, "corpus").files
    assert leftovers(folder.parent) == []


OVERWRITE = """
import itertools, sys
from realm_tf import _manifest, _replacement
if sys.argv[2] != "exchange":
    _replacement.exchange = lambda *_: False
for number in itertools.count():
    with _manifest.write_folder(sys.argv[1], "corpus", overwrite=True) as new:
        (new.path / "a").write_text(f"{number}")
        (new.path / "b").write_text(f"{number}")
    print(number, flush=True)
"""


def test_readers_never_miss_a_folder_that_is_replaced(folder, way):
    child = subprocess.Popen(
        [sys.executable, "-c", OVERWRITE, str(folder), way],
        stdout=subprocess.PIPE,
    )
    with child:
        child.stdout.readline()
        for _ in range(300):
            opened = open_folder(folder, "corpus")
            one, other = (opened.files[n].read(0, 9) for n in "ab")
            assert one == other
        child.kill()


@pytest.mark.parametrize("number", range(5))
def test_a_kill_while_replacing_leaves_one_whole_folder(folder, way, number):
    child = subprocess.Popen(
        [sys.executable, "-c", OVERWRITE, str(folder), way],
        stdout=subprocess.PIPE,
    )
    with child:
        child.stdout.readline()
        time.sleep(0.0137 * number)
        child.kill()
        done = child.stdout.read().split()
    files = read_manifest(folder, "corpus").files
    assert set(files) == {"a", "b"}
    text = (folder / "a").read_text()
    assert int(text) in range(len(done), len(done) + 2)
    write(folder, overwrite=True)
    assert leftovers(folder.parent) == []


KILLED_BETWEEN = """
import os, pathlib, signal, sys
from realm_tf import _manifest, _replacement
_replacement.exchange = lambda *_: False
rename = pathlib.Path.rename
def killed(self, target):
    rename(self, target)
    if target.name.endswith("-replaced"):
        os.kill(os.getpid(), signal.SIGKILL)
pathlib.Path.rename = killed
with _manifest.write_folder(sys.argv[1], "corpus", overwrite=True):
    pass
"""


@pytest.mark.parametrize("first", ["read", "write"])
def test_a_folder_comes_back_after_a_kill_between_two_renames(folder, first):
    assert run_python(KILLED_BETWEEN, folder).returncode == -signal.SIGKILL
    assert not folder.exists()
    if first == "read":
        assert "deep/b.bin" in read_manifest(folder, "corpus").files
    with pytest.raises(FolderError, match="does not exist yet"):
        write(folder)
    write(folder, {"new.txt": b"new"}, overwrite=True)
    assert set(read_manifest(folder, "corpus").files) == {"new.txt"}
    assert leftovers(folder.parent) == []


def test_folders_of_writers_that_live_are_left_alone(tmp_path):
    with write_folder(tmp_path / "x", "corpus") as writer:
        (writer.path / "a.txt").write_text("a")
        write(tmp_path / "x")
        assert (writer.path / "a.txt").exists()
        shutil.rmtree(tmp_path / "x")
    assert set(read_manifest(tmp_path / "x", "corpus").files) == {"a.txt"}


def test_open_files_stay_those_of_one_folder(folder):
    opened = open_folder(folder, "corpus")
    opened.check_in_place()
    write(folder, {"a.txt": b"two", "deep/b.bin": bytes(5)}, overwrite=True)
    assert opened.files["a.txt"].read(0, 9) == b"one"
    opened.verify()
    with pytest.raises(FolderError, match="must not be changed while"):
        opened.check_in_place()


def test_a_file_that_is_written_into_is_noticed(folder):
    opened = open_folder(folder, "corpus")
    (folder / "a.txt").write_bytes(b"other")
    with pytest.raises(FolderError, match="5 bytes, 3 at first. Open it"):
        opened.files["a.txt"].check_unchanged()


@pytest.mark.parametrize("name", ["a.txt", MANIFEST_NAME])
def test_a_pipe_in_place_of_a_file_is_refused_at_once(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(FolderError, match=f"{name} must be a regular file"):
        read_manifest(folder, "corpus")


# Stopped writers.


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_error_leaves_nothing(tmp_path, error):
    with pytest.raises(error, match="stopped"):
        with write_folder(tmp_path / "x", "corpus") as writer:
            (writer.path / "a.txt").write_text("a")
            raise error("stopped")
    assert os.listdir(tmp_path) == []


def test_error_keeps_the_folder_that_was_to_be_replaced(folder):
    with pytest.raises(RuntimeError, match="stopped"):
        with write_folder(folder, "corpus", overwrite=True):
            raise RuntimeError("stopped")
    read_manifest(folder, "corpus")


def test_manifest_that_could_not_be_read_is_never_published(tmp_path):
    with pytest.raises(FolderError, match="a count under 'num_blocks'.* -1"):
        with write_folder(tmp_path / "x", "corpus") as writer:
            writer.describe(counts={"num_blocks": -1})
    assert os.listdir(tmp_path) == []


def run_python(code, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        **options,
    )


def test_killed_writer_leaves_nothing_readable(tmp_path):
    path = tmp_path / "corpus"
    done = run_python(
        """
        import os, signal, sys
        from realm_tf._manifest import write_folder
        with write_folder(sys.argv[1], "corpus") as writer:
            (writer.path / "a.txt").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        """,
        path,
    )
    assert done.returncode == -signal.SIGKILL
    assert not path.exists()
    (leftover,) = leftovers(tmp_path)
    assert ".writing-" in leftover
    with pytest.raises(FolderError, match="a writer that was stopped"):
        read_manifest(path, "corpus")
    with pytest.raises(FolderError, match="a writer that was stopped"):
        read_manifest(tmp_path / leftover, "corpus")
    write(path)
    read_manifest(path, "corpus")


def test_killed_writer_keeps_the_folder_that_was_to_be_replaced(folder):
    done = run_python(
        """
        import os, signal, sys
        from realm_tf import _manifest, _replacement
        _manifest.publish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        with _manifest.write_folder(sys.argv[1], "corpus", overwrite=True):
            pass
        """,
        folder,
    )
    assert done.returncode == -signal.SIGKILL
    assert "deep/b.bin" in read_manifest(folder, "corpus").files


def test_full_disk_is_named(tmp_path):
    # A limit on the size of files fails as a full disk does, in any folder.
    done = run_python(
        """
        import sys
        from realm_tf._manifest import write_folder
        with write_folder(sys.argv[1], "corpus") as writer:
            with open(writer.path / "big.bin", "wb", buffering=0) as file:
                for _ in range(3):
                    file.write(bytes(4096))
        """,
        tmp_path / "corpus",
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (8192, 8192)
        ),
    )
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert "corpus does not fit on the disk" in message
    assert "bytes are free" in message
    assert "Nothing was kept" in message
    assert os.listdir(tmp_path) == []


# Damaged folders.


def test_missing_folder(tmp_path):
    with pytest.raises(FolderError, match="must be a folder with a"):
        read_manifest(tmp_path / "nowhere", "corpus")


def test_other_kind(folder):
    with pytest.raises(
        FolderError, match="must be of kind 'index'.*kind='corpus'"
    ):
        read_manifest(folder, "index")


def test_missing_file(folder):
    (folder / "a.txt").unlink()
    with pytest.raises(FolderError, match="a.txt must hold .* nothing"):
        read_manifest(folder, "corpus")


def test_cut_file(folder):
    (folder / "deep" / "b.bin").write_bytes(bytes(99))
    with pytest.raises(FolderError, match="100 bytes.* 99 bytes"):
        read_manifest(folder, "corpus", verify=False)


def test_flipped_bit(folder):
    (folder / "deep" / "b.bin").write_bytes(bytes(99) + b"\x01")
    with pytest.raises(FolderError, match="Expected: sha256=.* Received: sha"):
        read_manifest(folder, "corpus")
    read_manifest(folder, "corpus", verify=False)


def test_every_byte_of_the_manifest_counts(folder):
    file = folder / MANIFEST_NAME
    content = json.loads(file.read_text())
    content["counts"]["num_blocks"] = 3
    file.write_text(json.dumps(content))
    with pytest.raises(FolderError, match="Expected: sha256="):
        read_manifest(folder, "corpus")


def test_an_index_inside_changes_without_harm(tmp_path, caplog):
    path = tmp_path / "preset"
    with write_folder(path, "preset") as writer:
        (writer.path / "config.json").write_text("{}")
        with write_folder(writer.path / "index" / "v000001", "index"):
            pass
        (writer.path / "index" / "v000001.updates").write_text("")
    assert list(read_manifest(path, "preset").files) == ["config.json"]
    (path / "index" / "v000001.updates").write_text("a document")
    (path / "index" / ".writer.lock").write_text("a process")
    read_manifest(path, "preset")
    assert not caplog.records


def test_extra_files_are_named_and_ignored(folder, caplog):
    (folder / "notes.txt").write_text("mine")
    with caplog.at_level(logging.WARNING):
        read_manifest(folder, "corpus")
    assert "does not list; ignored: notes.txt" in caplog.text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "valid JSON"),
        (b'{"kind": ', "valid JSON"),
        (b"\xff\xfe\xfd", "valid JSON"),
        (b"[" * 100_000, "valid JSON"),
        (b'{"format_version": ' + b"9" * 5000 + b"}", "valid JSON"),
        (b"[]", "a JSON object"),
        (b"{}", "an integer format_version"),
        (b'{"format_version": "1"}', "an integer format_version"),
        (b'{"format_version": true}', "an integer format_version"),
        (b'{"format_version": 0}', "an integer format_version"),
        (b'{"format_version": 1, "kind": "corpus"}', "sha256=None"),
    ],
)
def test_manifest_that_is_no_manifest(folder, content, expected):
    (folder / MANIFEST_NAME).write_bytes(content)
    with pytest.raises(FolderError, match=f"Expected: {expected}"):
        read_manifest(folder, "corpus")


def test_huge_manifest_is_not_read(folder):
    os.truncate(folder / MANIFEST_NAME, _manifest._MAX_MANIFEST_BYTES + 1)
    with pytest.raises(FolderError, match="must have at most 67108864 bytes"):
        read_manifest(folder, "corpus")


def test_newer_format(folder, forge):
    forge(format_version=FORMAT_VERSION + 1, library_version="9.0")
    with pytest.raises(FolderError, match="realm_tf 9.0. Upgrade realm_tf"):
        read_manifest(folder, "corpus")


def test_i11_older_format(folder, monkeypatch):
    monkeypatch.setattr(_manifest, "FORMAT_VERSION", FORMAT_VERSION + 1)
    manifest = read_manifest(folder, "corpus")
    assert manifest.format_version == FORMAT_VERSION


def test_unknown_keys(folder, forge):
    forge(surprise=1)
    with pytest.raises(FolderError, match="Expected: the keys"):
        read_manifest(folder, "corpus")


@pytest.mark.parametrize("key", ["counts", "fingerprints", "options", "files"])
def test_key_without_an_object(folder, forge, key):
    forge(**{key: [1]})
    with pytest.raises(FolderError, match=f"Expected: an object under '{key}'"):
        read_manifest(folder, "corpus")


@pytest.mark.parametrize("count", [-1, 2**48 + 1, 10**400, 1.0, True, "1"])
def test_impossible_counts(folder, forge, count):
    forge(counts={"num_blocks": count})
    with pytest.raises(FolderError, match="a count under 'num_blocks'"):
        read_manifest(folder, "corpus")


def test_fingerprint_that_is_no_string(folder, forge):
    forge(fingerprints={"tokenizer": 5})
    with pytest.raises(FolderError, match="a string under 'tokenizer'"):
        read_manifest(folder, "corpus")


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {},
        {"size": 3},
        {"size": "3", "sha256": ""},
        {"size": 3, "sha256": 5},
        {"size": 3, "sha256": "", "mode": 511},
    ],
)
def test_file_entry_of_another_form(folder, forge, entry):
    forge(files={"a.txt": entry})
    with pytest.raises(FolderError, match="size and sha256 of 'a.txt'"):
        read_manifest(folder, "corpus")


@pytest.mark.parametrize("size", [-1, 2**63, 10**400])
def test_impossible_sizes(folder, forge, size):
    forge(files={"a.txt": {"size": size, "sha256": ""}})
    with pytest.raises(FolderError, match="3 bytes"):
        read_manifest(folder, "corpus")


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../secret",
        "deep/../../secret",
        "..\\secret",
        "nul\0byte",
        "lone\ud800surrogate",
    ],
)
def test_names_outside_the_folder(folder, forge, name):
    forge(files={name: {"size": 1, "sha256": ""}})
    with pytest.raises(FolderError, match="its own folder only"):
        read_manifest(folder, "corpus")


@pytest.mark.parametrize("name", ["", ".", "deep", "a" * 5000, "a.txt/b"])
def test_names_of_no_file(folder, forge, name):
    forge(files={name: {"size": 1, "sha256": ""}})
    with pytest.raises(FolderError, match="the file. Received: noth|a regular"):
        read_manifest(folder, "corpus")


def test_link_out_of_the_folder(folder, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"one")
    (folder / "a.txt").unlink()
    (folder / "a.txt").symlink_to(secret)
    with pytest.raises(FolderError, match="its own folder only"):
        read_manifest(folder, "corpus")


def test_link_inside_the_folder(folder):
    (folder / "a.txt").rename(folder / "moved.txt")
    (folder / "a.txt").symlink_to("moved.txt")
    read_manifest(folder, "corpus")


def test_link_to_itself(folder):
    (folder / "a.txt").unlink()
    (folder / "a.txt").symlink_to("a.txt")
    with pytest.raises(FolderError, match="the file. Received: nothing"):
        read_manifest(folder, "corpus")
