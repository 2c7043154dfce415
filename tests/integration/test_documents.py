"""What the documents tell people to type can be typed."""

import pathlib
import re
import shlex

import click
import pytest

from realm_tf.cli import main

ROOT = pathlib.Path(__file__).parents[2]
DOCUMENTS = [
    *(path.name for path in ROOT.glob("*.md")),
    "export/README.md",
    *(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md")),
]


def code(document, language):
    text = (ROOT / document).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def commands(document):
    """The words of each `realm-tf` command."""
    for block in code(document, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            if "realm-tf" not in line:
                continue
            words = shlex.split(line, comments=True)
            while "realm-tf" in words:
                words = words[words.index("realm-tf") + 1 :]
                ends = [i for i, w in enumerate(words) if w in ("&&", "|", "&")]
                yield words[: min(ends, default=len(words))]


def parse(words):
    """Parses a command; its files need not exist."""
    command, words = main, list(words)
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    context = click.Context(command)
    values, _, _ = command.make_parser(context).parse_args(words)
    for parameter in command.params:
        value = values.get(parameter.name)
        missing = parameter.required and value in (None, (), [])
        assert not missing, f"{command.name} needs {parameter.name}"
        if isinstance(value, str) and not isinstance(
            parameter.type, click.Path
        ):
            parameter.type.convert(value, parameter, context)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_can_be_typed(document):
    for words in commands(document):
        parse(words)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            "index build --preset a --corpus b -o c --searcher x",
            "is not one of",
        ),
        ("index build --preset a --corpus b", "build needs output"),
        ("index build --presets a", "No such option"),
        ("ask --preset a --num-read x", "not a valid integer"),
    ],
)
def test_commands_that_cannot_be_typed_are_found(line, problem):
    with pytest.raises((AssertionError, click.UsageError), match=problem):
        parse(shlex.split(line))


def test_there_are_commands_to_check():
    assert len(list(commands("README.md"))) > 7
    assert sum(len(list(commands(name))) for name in DOCUMENTS) > 25


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


def test_files_that_are_named_exist():
    for document in DOCUMENTS:
        folder = (ROOT / document).parent
        text = (ROOT / document).read_text("utf-8")
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert (folder / link).exists(), (document, link)
