"""What the documents tell people to type can be typed."""

import pathlib
import re
import shlex

import click
import pytest

from realm_tf.cli import main
from realm_tf.realm_qa import RealmQA

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
    assert len(list(commands("README.md"))) > 15


def test_files_that_are_named_exist():
    for document in DOCUMENTS:
        folder = (ROOT / document).parent
        text = (ROOT / document).read_text("utf-8")
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert (folder / link).exists(), (document, link)


def test_the_first_example_of_the_readme(tiny_bert, tmp_path, monkeypatch):
    RealmQA.from_preset(tiny_bert, embedding_dim=4).save_to_preset(
        tmp_path / "preset"
    )
    monkeypatch.chdir(tmp_path)
    example = code("README.md", "python")[0]
    names: dict[str, object] = {}
    exec(example, names)
    assert names["qa"].index.num_blocks == 2
