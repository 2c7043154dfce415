import io
import json
import logging
import sys
import warnings

import pytest

from realm_tf.cli.ui import console
from realm_tf.errors import FolderError, UnknownDocumentError


def test_neutralise_keeps_the_place_of_every_other_sign():
    text = "a\x1b]0;title\x07b\x9b31mc\rd\x7f"
    safe = console.neutralise(text)
    assert safe == "a␛]0;title␇b\ufffd31mc␍d\ufffd"
    assert len(safe) == len(text)


def test_neutralise_keeps_line_ends_tabs_and_other_scripts():
    text = "Zoë\t東京\nשלום 🙂 \u200f"
    assert console.neutralise(text) == text


def test_print_json_is_ascii_on_one_line(capsys):
    content = {"text": "Zoë\x1b[31m\x9b\udc80\n"}
    console.print_json(content)
    printed = capsys.readouterr().out
    assert printed.isascii() and printed.count("\n") == 1
    assert "\x1b" not in printed
    assert json.loads(printed) == content


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FolderError("A folder."), "Error: A folder.\n"),
        (UnknownDocumentError("No doc-7."), "Error: No doc-7.\n"),
        (
            OSError(28, "x must fit on the disk"),
            "Error: x must fit on the disk\n",
        ),
        (
            FileNotFoundError(2, "No such file or directory", "a.json"),
            "Error: No such file or directory: a.json\n",
        ),
        (
            KeyError("x"),
            "Error: KeyError: 'x'. Add --debug to the command for the "
            "traceback.\n",
        ),
        (ValueError("\x1b[2J"), "Error: ␛[2J\n"),
    ],
)
def test_print_error_is_one_safe_message(error, message, capsys):
    console.print_error(error)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", message)


def test_readable_output_shows_log_and_warnings_as_notes(capsys):
    logger = logging.getLogger("realm_tf.data.corpus.jsonl")
    with console.readable_output():
        logger.warning("Skipped %d bad records of %s.", 2, "a\x1b.jsonl")
        logger.info("unimportant")
        warnings.showwarning("other weights", UserWarning, "file.py", 7)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "Warning: Skipped 2 bad records of a␛.jsonl.\nWarning: other weights\n"
    )


def test_readable_output_leaves_no_trace():
    show = warnings.showwarning
    handlers = list(logging.getLogger("realm_tf").handlers)
    with console.readable_output():
        pass
    assert warnings.showwarning is show
    assert logging.getLogger("realm_tf").handlers == handlers


def test_readable_output_survives_a_terminal_without_unicode(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
    with console.readable_output():
        console.stdout().print("Zoë")
        sys.stdout.flush()
    assert raw.getvalue() == b"Zo\\xeb\n"


def test_advice_is_what_the_command_can_do(capsys):
    message = "Correct it, or pass `skip_bad=True` to skip invalid records."
    console.print_error(ValueError(message), {"--skip-bad"})
    assert capsys.readouterr().err == (
        "Error: Correct it, or add `--skip-bad` to skip invalid records.\n"
    )
    console.print_error(ValueError(message), {"--other"})
    assert capsys.readouterr().err == "Error: Correct it.\n"
