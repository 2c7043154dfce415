import errno
import os
import shutil
import subprocess
import sys
import time

import pytest

from realm_tf.errors import FolderError, MismatchError
from realm_tf.retrieval.index.journal import Journal, Place

RECORDS = [b"first", b"", b"third" * 100]
VERSION = "ab" * 32
# The former format with the records b"old" and b"".
OLD = bytes.fromhex(
    "5254464a524e4c312f000000000000000200000000000000607494af"
    "03000000e5d45d3f6f6c640000000000000000"
)


def open_journal(path):
    return Journal(path, VERSION)


@pytest.fixture
def path(tmp_path):
    journal = Journal.create(tmp_path / "journal", VERSION)
    for record in RECORDS:
        journal.append(record)
    return journal.path


def test_records_survive_in_order(path):
    journal = open_journal(path)
    assert journal.records() == RECORDS
    journal.append(b"fourth")
    assert open_journal(path).records() == [*RECORDS, b"fourth"]


def test_a_journal_can_begin_with_records(tmp_path):
    journal = Journal.create(tmp_path / "journal", VERSION, RECORDS)
    journal.append(b"fourth")
    assert open_journal(journal.path).records() == [*RECORDS, b"fourth"]
    assert os.listdir(tmp_path) == ["journal"]


def test_a_reader_sees_what_another_appended(path):
    reader, writer = open_journal(path), open_journal(path)
    records, place = reader.read(Place())
    assert (records, reader.has_news(place)) == (RECORDS, False)
    writer.append(b"new")
    assert reader.has_news(place)
    records, place = reader.read(place)
    assert (records, reader.has_news(place)) == ([b"new"], False)


def test_a_journal_of_another_version_is_refused(path):
    with pytest.raises(MismatchError, match="updates of abab.*version cdcd"):
        Journal(path, "cd" * 32)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, make):
    make(tmp_path / "journal")
    with pytest.raises(FolderError, match="must be a regular file"):
        open_journal(tmp_path / "journal")


def test_a_journal_that_was_replaced_is_not_written(path):
    journal = open_journal(path)
    os.replace(shutil.copy(path, f"{path}-new"), path)
    with pytest.raises(FolderError, match="must not be changed while it is"):
        journal.append(b"x")
    assert open_journal(path).records() == RECORDS


def test_a_reader_outlives_the_removal_of_the_file(path):
    journal = open_journal(path)
    path.unlink()
    assert journal.records() == RECORDS


def test_a_journal_that_became_shorter_is_refused(path):
    journal = open_journal(path)
    _, place = journal.read(Place())
    shutil.copyfile(Journal.create(f"{path}-new", VERSION).path, path)
    with pytest.raises(FolderError, match="Received: 1024 bytes, after"):
        journal.read(place)


def test_the_former_format_is_read_only_to_be_written_anew(tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(OLD)
    with pytest.raises(FolderError, match="realm-tf index rollback"):
        open_journal(path)
    journal = Journal(path, VERSION, accept_old=True)
    assert journal.records() == [b"old", b""]
    for position in range(len(OLD)):
        changed = bytearray(OLD)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(FolderError, match=str(path)):
            Journal(path, VERSION, accept_old=True).records()


def test_w01_bytes_of_a_killed_writer_do_not_exist(path):
    with open(path, "ab") as file:
        file.write(b"half a rec")
    journal = open_journal(path)
    assert journal.records() == RECORDS
    journal.append(b"x")
    assert open_journal(path).records() == [*RECORDS, b"x"]


def test_i07_every_flipped_byte_is_refused_or_read_from_the_other_header(path):
    whole = path.read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1
        path.write_bytes(changed)
        if position < 1024:
            assert open_journal(path).records() == RECORDS
        else:
            with pytest.raises(FolderError, match=str(path)):
                open_journal(path).records()


def test_i07_a_journal_without_a_whole_header_is_refused(path):
    whole = bytearray(path.read_bytes())
    whole[20] ^= 1
    whole[532] ^= 1
    path.write_bytes(whole)
    with pytest.raises(FolderError, match="Received: a bad header"):
        open_journal(path)


def test_a_torn_header_leaves_what_was_there_before(path):
    before = path.read_bytes()[:1024]
    open_journal(path).append(b"new")
    after = path.read_bytes()
    for written in range(1025):
        path.write_bytes(after[:written] + before[written:] + after[1024:])
        records = open_journal(path).records()
        assert records in (RECORDS, [*RECORDS, b"new"])


def test_an_open_reader_sees_a_record_once_it_is_whole(path):
    """Whatever part of it is on a shared disk already, in any byte."""
    before = path.read_bytes()
    open_journal(path).append(b"new")
    after = path.read_bytes()
    path.write_bytes(before)
    reader = open_journal(path)
    _, place = reader.read(Place())
    with open(path, "r+b", buffering=0) as file:
        for position in [*range(1024, len(after)), *range(1024)]:
            file.seek(position)
            file.write(after[position : position + 1])
            is_confirmed = position < 1024
            seen = reader.read(place)[0]
            assert seen == [] or (is_confirmed and seen == [b"new"])
    assert seen == [b"new"]


def test_i08_every_cut_is_refused(path):
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FolderError, match="Received: .* bytes"):
            open_journal(path).records()


def test_i09_a_missing_journal_is_refused(tmp_path):
    with pytest.raises(FolderError, match="Received: no file"):
        open_journal(tmp_path / "journal")


def run_child(code, *arguments):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)])


FULL_DISK = """
import resource, signal, sys
from realm_tf.retrieval.index.journal import Journal
journal = Journal(sys.argv[1], "ab" * 32)
size = journal.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, size + 50))
try:
    journal.append(b"x" * 1000)
except OSError as error:
    assert "An update of 1,008 bytes" in str(error), error
    assert "bytes are free" in str(error), error
else:
    sys.exit(7)
assert journal.path.stat().st_size == size
journal.append(b"short")  # goes on where it was
"""


def test_w02_a_full_disk_changes_nothing(path):
    assert run_child(FULL_DISK, path).wait() == 0
    assert open_journal(path).records() == [*RECORDS, b"short"]


def test_w03_a_read_only_journal_is_an_error(path, monkeypatch):
    journal = open_journal(path)

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    # Root may write to read-only files, so the mode does not help here.
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(PermissionError, match="the index is unchanged"):
            journal.append(b"x")
    assert open_journal(path).records() == RECORDS


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("moment", ["before", "half", "after"])
@pytest.mark.parametrize("call", ["pwrite", "fsync"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_failing_disk_loses_nothing(
    path, monkeypatch, call, number, moment, code
):
    """Each write and sync of an append fails, at its start or end."""
    journal = open_journal(path)
    real, calls = getattr(os, call), []

    def failing(descriptor, *arguments):
        calls.append(call)
        if len(calls) == number:
            if moment == "half" and arguments:
                data, position = arguments
                real(descriptor, data[: len(data) // 3], position)
            elif moment == "after":
                real(descriptor, *arguments)
            raise OSError(code, "broken")
        return real(descriptor, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(OSError, match=str(path)) as caught:
            journal.append(b"new")
    assert caught.value.errno == code
    expected = [RECORDS]
    if number == 1:
        assert "the index is unchanged" in str(caught.value)
    else:
        assert "may or may not hold the last update" in str(caught.value)
        expected.append([*RECORDS, b"new"])
    records = open_journal(path).records()
    assert records in expected
    journal.append(b"later")
    assert open_journal(path).records() == [*records, b"later"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_journal_that_cannot_be_made_is_not_there(
    tmp_path, monkeypatch, call
):
    def fail(*arguments):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="broken"):
        Journal.create(tmp_path / "journal", VERSION, RECORDS)
    assert os.listdir(tmp_path) == []


APPEND_FOREVER = """
import os, sys
from realm_tf.retrieval.index.journal import Journal
journal = Journal(sys.argv[1], "ab" * 32)
point = os.environ.get("KILL_AT")
done = 0
def count(function):
    def counted(*args):
        global done
        done += 1
        if point == f"{function.__name__}-{done}":
            os.kill(os.getpid(), 9)
        return function(*args)
    return counted
os.pwrite, os.fsync = map(count, (os.pwrite, os.fsync))
number = 0
while True:
    journal.append(f"{number}".encode() * 50)
    number += 1
    os.write(1, f"{number}\\n".encode())
"""


def check_killed(path, acknowledged):
    records = open_journal(path).records()
    expected = [f"{number}".encode() * 50 for number in range(len(records))]
    assert records == expected
    assert len(records) in (acknowledged, acknowledged + 1)


# One append makes four calls: pwrite, fsync, pwrite, fsync.
@pytest.mark.parametrize(
    "point", ["pwrite-5", "fsync-6", "pwrite-7", "fsync-8"]
)
def test_w01_killed_at_each_step_loses_nothing(tmp_path, point):
    path = Journal.create(tmp_path / "journal", VERSION).path
    child = subprocess.run(
        [sys.executable, "-c", APPEND_FOREVER, str(path)],
        env={**os.environ, "KILL_AT": point},
        capture_output=True,
    )
    assert child.returncode == -9
    check_killed(path, len(child.stdout.split()))


@pytest.mark.parametrize("number", range(3))
def test_w01_killed_at_any_moment_loses_nothing(tmp_path, number):
    kill_after_a_while(tmp_path, number)


@pytest.mark.large
@pytest.mark.parametrize("number", range(20))
def test_w01_killed_at_any_of_twenty_moments_loses_nothing(tmp_path, number):
    kill_after_a_while(tmp_path, number)


def kill_after_a_while(tmp_path, number):
    path = Journal.create(tmp_path / "journal", VERSION).path
    command = [sys.executable, "-c", APPEND_FOREVER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        child.stdout.readline()  # it has begun
        time.sleep(0.0137 * number)
        child.kill()
        acknowledged = 1 + len(child.stdout.read().split())
    check_killed(path, acknowledged)
