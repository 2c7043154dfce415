import json
import os
import signal
import subprocess
import sys

import pytest

from realm_tf.errors import NotWriterError
from realm_tf.serving.service import writer_role
from realm_tf.serving.service.writer_role import (
    HOLDER_NAME,
    LOCK_NAME,
    WriterRole,
)

URL = "http://127.0.0.1:8600"
HOLD = """
import signal, sys
from realm_tf.serving.service.writer_role import WriterRole
role = WriterRole(sys.argv[1], url=sys.argv[2])
print(role.take(), flush=True)
signal.pause()
"""


def test_one_service_at_a_time_is_the_writer(tmp_path):
    first = WriterRole(tmp_path, url=URL)
    second = WriterRole(tmp_path, url="http://other:1")
    assert (first.name, second.name) == ("waiting", "waiting")
    assert first.take() and first.take()
    assert not second.take()
    assert (first.name, second.name) == ("writer", "waiting")
    first.require()
    with pytest.raises(NotWriterError, match=f"to the writer, {URL}") as caught:
        second.require()
    assert caught.value.writer == URL  # though the lock was tried
    first.give_back()
    second.require()
    assert (first.name, second.name) == ("waiting", "writer")
    first.give_back()  # it has nothing
    assert not first.take()


def test_role_of_a_killed_process_is_free(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path, URL],
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout.readline() == "True\n"
        role = WriterRole(tmp_path)
        with pytest.raises(NotWriterError, match=URL):
            role.require()
        holder.send_signal(signal.SIGKILL)
    assert role.take()


def test_reader_never_takes_the_role(tmp_path):
    reader = WriterRole(tmp_path, is_reader=True)
    assert not reader.take() and reader.name == "reader"
    with pytest.raises(NotWriterError, match="start one") as caught:
        reader.require()
    assert caught.value.writer is None
    assert not list(tmp_path.iterdir())


def test_writer_without_an_address_is_named_by_its_process(tmp_path):
    writer = WriterRole(tmp_path)
    writer.take()
    with pytest.raises(NotWriterError, match=f"process {os.getpid()} on "):
        WriterRole(tmp_path, is_reader=True).require()


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00", '"' + "a" * 5000])
def test_holder_that_cannot_be_read_is_unknown(tmp_path, text):
    (tmp_path / HOLDER_NAME).write_text(text)
    with pytest.raises(NotWriterError, match="No service said"):
        WriterRole(tmp_path, is_reader=True).require()


def test_folder_that_is_not_there_has_no_writer(tmp_path):
    assert not WriterRole(tmp_path / "none").take()
    assert not list(tmp_path.iterdir())


def test_role_is_not_held_if_that_cannot_be_said(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("No space left")

    role = WriterRole(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(writer_role, "replace_file", fail)
        with pytest.raises(OSError, match="No space left"):
            role.take()
    assert role.name == "waiting"
    assert WriterRole(tmp_path).take()


def test_files_are_beside_the_versions(tmp_path):
    role = WriterRole(tmp_path, url=URL)
    role.take()
    holder = json.loads((tmp_path / HOLDER_NAME).read_text())
    assert holder["url"] == URL and holder["pid"] == os.getpid()
    role.give_back()
    assert {p.name for p in tmp_path.iterdir()} <= {LOCK_NAME}
