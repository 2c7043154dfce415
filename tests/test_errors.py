import ast
import builtins
import inspect
import pathlib

import pytest

from realm_tf import errors

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass)]
FOLDER = pathlib.Path(errors.__file__).parent


@pytest.mark.parametrize("error", CLASSES, ids=lambda c: c.__name__)
def test_every_exception_is_a_realm_error(error):
    assert issubclass(error, errors.RealmError)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.BadRecordError("a.jsonl", 1, "Bad.", "Correct it."), "Value"),
        (errors.CheckpointError(), "Value"),
        (errors.MismatchError(), "Value"),
        (errors.UnknownVersionError(), "Value"),
        (errors.TooLargeError(), "Value"),
        (errors.UnknownDocumentError("No x."), "Key"),
        (errors.LockedError(), "Runtime"),
        (errors.GivenUpError("Late."), "Runtime"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_exceptions_are_what_python_calls_them_too(error, kind):
    assert isinstance(error, getattr(builtins, f"{kind}Error"))


def test_public_exceptions_have_no_other_home():
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
                is_private = node.name.startswith("_")
                assert is_private or path.name == "errors.py", node.name


def test_bad_record_names_file_and_line():
    error = errors.BadRecordError("a.jsonl", 3, "`a` must be 1.", "Do so.")
    assert str(error) == "`a` must be 1. File: a.jsonl, line 3. Do so."
    assert (error.path, error.line) == ("a.jsonl", 3)


def test_unknown_document_is_shown_without_quotes():
    assert str(errors.UnknownDocumentError("No doc-7.")) == "No doc-7."


def test_unavailable_service_says_when_to_retry():
    assert errors.ServiceUnavailableError("Busy.").retry_after == 1.0
    assert errors.ServiceUnavailableError("Busy.", 3.0).retry_after == 3.0
