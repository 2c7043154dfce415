import collections
import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from realm_tf import _files
from realm_tf._files import (
    check_disk_space,
    explain_full_disk,
    open_npy,
    read_npy_header,
    replace_file,
    replacing,
    write_npy_header,
    writer_lock,
)
from realm_tf.errors import FolderError, LockedError

HOLD = """
import sys
from realm_tf._files import writer_lock
with writer_lock(sys.argv[1]):
    print("holding", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock until it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        child.stdout.readline()
        yield child
        child.kill()


def test_w04_the_second_writer_is_refused_with_the_holder(tmp_path, holder):
    with pytest.raises(LockedError, match=f"by process {holder.pid} on "):
        with writer_lock(tmp_path):
            pass


def test_w04_the_lock_of_a_dead_process_is_taken_over(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with writer_lock(tmp_path):
        pass


def test_the_lock_is_free_again_after_use_and_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), writer_lock(tmp_path):
        raise ZeroDivisionError
    with writer_lock(tmp_path):
        pass


def test_two_threads_of_one_process_exclude_each_other(tmp_path):
    with writer_lock(tmp_path):
        with pytest.raises(LockedError, match=f"process {os.getpid()} on "):
            with writer_lock(tmp_path):
                pass


def test_timeout_waits_for_the_other_writer(tmp_path):
    entered = threading.Event()
    release = threading.Event()

    def hold():
        with writer_lock(tmp_path):
            entered.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait()
    threading.Timer(0.1, release.set).start()
    with writer_lock(tmp_path, timeout=30.0):
        assert release.is_set()
    thread.join()


def test_a_holder_that_has_not_signed_is_named_as_new(tmp_path):
    with writer_lock(tmp_path):
        (tmp_path / ".writer.lock").write_text("")
        with pytest.raises(LockedError, match="has just started"):
            with writer_lock(tmp_path):
                pass


def test_waiting_ends_after_the_timeout(tmp_path, holder):
    with pytest.raises(LockedError, match="one writer at a time"):
        with writer_lock(tmp_path, timeout=0.05):
            pass


def fail(*arguments):
    raise OSError(errno.EIO, "broken")


def test_replace_file_leaves_the_old_one_when_it_fails(tmp_path, monkeypatch):
    file = tmp_path / "a.json"
    replace_file(file, "ä\n")
    assert file.read_text("utf-8") == "ä\n"
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="broken"):
        replace_file(file, "new")
    assert os.listdir(tmp_path) == ["a.json"]
    assert file.read_text("utf-8") == "ä\n"


def test_replaced_file_is_on_the_disk_before_it_has_its_name(
    tmp_path, monkeypatch
):
    file = tmp_path / "a"
    synced = []
    monkeypatch.setattr(
        _files, "sync", lambda path: synced.append((path, file.exists()))
    )
    with replacing(file) as new:
        new.write(b"12")
        assert not file.exists()
    (written, early), (folder, late) = synced
    assert _files.TEMPORARY_MARK in written.name
    assert (early, folder, late) == (False, tmp_path, True)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "no"),
        OSError(errno.EDQUOT, "no"),
        OSError(errno.EFBIG, "no"),
        RuntimeError("UNKNOWN: No space left on device; write failed"),
    ],
)
def test_full_disk_is_explained(tmp_path, error):
    with pytest.raises(OSError, match=r"does not fit .* bytes are free") as it:
        with explain_full_disk(tmp_path / "new", "Buy a disk."):
            raise error
    assert str(tmp_path / "new") in it.value.strerror
    assert it.value.strerror.endswith("Buy a disk.")
    assert it.value.errno in (getattr(error, "errno", None), errno.ENOSPC)


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "broken"), RuntimeError("broken")]
)
def test_other_errors_are_left_as_they_are(tmp_path, error):
    with pytest.raises(type(error), match="broken"):
        with explain_full_disk(tmp_path, "Buy a disk."):
            raise error


def test_a_full_disk_is_told_before_writing(tmp_path, monkeypatch):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 5, 5))
    check_disk_space(tmp_path / "new/folder", 5)
    with pytest.raises(OSError, match="5 bytes are free.*It needs 6"):
        check_disk_space(tmp_path / "new/folder", 6)


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_header_ends_where_the_array_begins(version):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ones((2, 3), "<f4"), version)
    file.seek(0)
    assert read_npy_header(file) == ((2, 3), np.dtype("<f4"))
    assert file.read() == np.ones(6, "<f4").tobytes()


def test_a_folder_is_copied_to_the_disk(tmp_path, monkeypatch):
    source, target = tmp_path / "source", tmp_path / "a" / "target"
    (source / "more").mkdir(parents=True)
    (source / "one").write_bytes(b"1")
    (source / "more" / "two").write_bytes(b"2")
    synced = []
    monkeypatch.setattr(_files, "sync", synced.append)
    _files.copy_folder(source, target)
    assert (target / "one").read_bytes() == b"1"
    assert (target / "more" / "two").read_bytes() == b"2"
    assert {target, *target.rglob("*")} == set(synced)


def test_a_file_that_cannot_be_copied_is_named(tmp_path, monkeypatch):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "one").write_bytes(b"1")

    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(OSError, match="target/one"):
        _files.copy_folder(source, target)


def test_other_files_are_refused():
    with pytest.raises(ValueError, match="magic"):
        read_npy_header(io.BytesIO(b"nothing of NumPy's"))


@pytest.mark.parametrize("header", [b"{'descr': (\n", b"{'a': '\n", b"(" * 300])
def test_damaged_npy_headers_are_value_errors(header, tmp_path):
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with pytest.raises(ValueError, match="header"):
        read_npy_header(io.BytesIO(data))
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(FolderError, match=r"a\.npy must hold.*Copy it\."):
        open_npy(tmp_path / "a.npy", "<f4", (2,), "Copy it.")


FORKED = """
import os, signal, sys, time
from realm_tf._files import writer_lock

with writer_lock(sys.argv[1]):
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    print("forked", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_forked_child_does_not_keep_the_lock(tmp_path):
    command = [sys.executable, "-c", FORKED, str(tmp_path)]
    writer = subprocess.Popen(
        command, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert writer.stdout.readline() == b"forked\n"
        assert writer.wait(60) == -signal.SIGKILL
        with writer_lock(tmp_path, timeout=5):
            pass
    finally:
        os.killpg(writer.pid, signal.SIGKILL)
        writer.stdout.close()


def test_array_is_written_in_pieces_and_mapped(tmp_path):
    file = tmp_path / "a.npy"
    with open(file, "wb") as pieces:
        write_npy_header(pieces, np.uint16, (2, 3))
        pieces.write(np.arange(4, dtype="<u2").tobytes())
        pieces.write(np.arange(2, dtype="<u2").tobytes())
    array = open_npy(file, "<u2 <u4", (2, 3), "")
    assert array.tolist() == [[0, 1, 2], [3, 0, 1]]
    assert not array.flags.writeable


def test_empty_array_is_opened(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((0, 2), np.int64))
    assert open_npy(tmp_path / "a.npy", "<i8", (0, 2), "").shape == (0, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros(3, "<f4"), "type <f4 and shape"),
        (np.zeros(4, "<i8"), r"shape \(4,\)"),
        (np.array([{}] * 3, object), r"type \|O and shape"),
        (b"nothing of NumPy's", "magic string"),
        (b"", "EOF"),
        (None, "No such file"),
    ],
)
def test_other_arrays_are_refused_with_advice(tmp_path, content, message):
    file = tmp_path / "a.npy"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        np.save(file, content)
    with pytest.raises(
        FolderError, match=f"must hold an array of type <i8.*{message}.*Run."
    ):
        open_npy(file, "<i8", (3,), "Run.")


def test_array_that_is_cut_short_is_refused(tmp_path):
    file = tmp_path / "a.npy"
    np.save(file, np.zeros(1000, np.int64))
    os.truncate(file, 4000)
    with pytest.raises(FolderError, match="must hold an array"):
        open_npy(file, "<i8", (1000,), "")
