"""Commands of realm-tf in processes of their own, which tests kill."""

import subprocess
import sys

CODE = "from realm_tf.cli import main; main()"


def start(*args):
    return subprocess.Popen(
        [sys.executable, "-c", CODE, *map(str, args)],
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, timeout=300):
    _, errors = process.communicate(timeout=timeout)
    assert process.returncode == 0, errors
