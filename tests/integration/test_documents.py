"""What the documents tell people to type can be typed."""

import pathlib
import re
import shlex

import click
import pytest

from realm_tf.cli import main

ROOT = pathlib.Path(__file__).parents[2]
DOCUMENTS = [
    "README.md",
    "export/README.md",
    *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
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


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_and_their_options_exist(document):
    for words in commands(document):
        command, words = main, list(words)
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        known = {name for p in command.params for name in p.opts}
        used = {w.partition("=")[0] for w in words if re.match("--?[a-z]", w)}
        assert used <= known, (document, command.name, used - known)


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
