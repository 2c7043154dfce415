import os
import signal
import subprocess
import sys
import threading

import pytest

from realm_tf.errors import LockedError
from realm_tf.retrieval.index.writer_lock import writer_lock

HOLD = """
import sys
from realm_tf.retrieval.index.writer_lock import writer_lock
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
