import os
import subprocess
import sys
import time

import pytest

from realm_tf.errors import FolderError
from realm_tf.retrieval.index.journal import Journal

RECORDS = [b"first", b"", b"third" * 100]


@pytest.fixture
def path(tmp_path):
    journal = Journal.create(tmp_path / "journal")
    for record in RECORDS:
        journal.append(record)
    return journal.path


def test_records_survive_in_order(path):
    journal = Journal(path)
    assert journal.read() == RECORDS
    assert journal.read() == []
    journal.append(b"fourth")
    assert Journal(path).read() == [*RECORDS, b"fourth"]


def test_a_reader_sees_what_another_appended(path):
    reader, writer = Journal(path), Journal(path)
    reader.read()
    writer.read()
    writer.append(b"new")
    assert reader.read() == [b"new"]


def test_w01_bytes_of_a_killed_writer_do_not_exist(path):
    with open(path, "ab") as file:
        file.write(b"half a rec")
    journal = Journal(path)
    assert journal.read() == RECORDS
    journal.append(b"x")
    assert Journal(path).read() == [*RECORDS, b"x"]


def test_i07_every_flipped_byte_is_refused(path):
    whole = path.read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(FolderError, match=str(path)):
            Journal(path).read()


def test_i08_every_cut_is_refused(path):
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FolderError, match="Received: .* bytes"):
            Journal(path).read()


def test_i09_a_missing_journal_is_refused(tmp_path):
    with pytest.raises(FolderError, match="Received: no file"):
        Journal(tmp_path / "journal")


def run_child(code, *arguments):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)])


FULL_DISK = """
import resource, signal, sys
from realm_tf.retrieval.index.journal import Journal
journal = Journal(sys.argv[1])
journal.read()
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
    assert Journal(path).read() == [*RECORDS, b"short"]


def test_w03_a_read_only_journal_is_an_error(path, monkeypatch):
    journal = Journal(path)
    journal.read()

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    # Root may write to read-only files, so the mode does not help here.
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError):
        journal.append(b"x")
    assert Journal(path).read() == RECORDS


APPEND_FOREVER = """
import os, sys
from realm_tf.retrieval.index.journal import Journal
journal = Journal(sys.argv[1])
journal.read()
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
os.ftruncate, os.pwrite, os.fsync = map(
    count, (os.ftruncate, os.pwrite, os.fsync)
)
number = 0
while True:
    journal.append(f"{number}".encode() * 50)
    number += 1
    os.write(1, f"{number}\\n".encode())
"""


def check_killed(path, acknowledged):
    records = Journal(path).read()
    expected = [f"{number}".encode() * 50 for number in range(len(records))]
    assert records == expected
    assert len(records) in (acknowledged, acknowledged + 1)


# One append makes five calls: ftruncate, pwrite, fsync, pwrite, fsync.
@pytest.mark.parametrize(
    "point",
    ["ftruncate-6", "pwrite-7", "fsync-8", "pwrite-9", "fsync-10"],
)
def test_w01_killed_at_each_step_loses_nothing(tmp_path, point):
    path = Journal.create(tmp_path / "journal").path
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
    path = Journal.create(tmp_path / "journal").path
    command = [sys.executable, "-c", APPEND_FOREVER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        child.stdout.readline()  # it has begun
        time.sleep(0.0137 * number)
        child.kill()
        acknowledged = 1 + len(child.stdout.read().split())
    check_killed(path, acknowledged)
