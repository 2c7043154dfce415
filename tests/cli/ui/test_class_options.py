import dataclasses
import pathlib
import re

import click
import click.testing
import pytest

from realm_tf import options
from realm_tf._constants import MASKED_WORDS_LEARNING_RATE
from realm_tf.cli import main
from realm_tf.cli.ui.class_options import class_options, descriptions, make
from realm_tf.options import FinetuneOptions, TrainingOptions

# Command -> the classes its options are made from.
MADE = {
    ("export",): [options.ExportOptions],
    ("finetune",): [FinetuneOptions],
    ("import",): [options.LoadOptions],
    ("pretrain", "ict"): [options.InverseClozeOptions, TrainingOptions],
    ("pretrain", "mlm"): [
        options.MaskedSentenceOptions,
        options.RefreshOptions,
        TrainingOptions,
    ],
    ("serve",): [options.ServiceOptions],
}
OTHER_DEFAULTS = {
    # A text, with commas.
    ("export", "models"): "query_embedder,block_embedder,reader",
    ("mlm", "learning_rate"): MASKED_WORDS_LEARNING_RATE,
}


def parameters(path):
    command = main
    for name in path:
        command = command.commands[name]
    context = click.Context(command)
    return {o.name: o.get_default(context) for o in command.params}


@pytest.mark.parametrize("path", MADE, ids=" ".join)
def test_defaults_of_the_command_are_those_of_the_class(path):
    found = parameters(path)
    for kind in MADE[path]:
        fields = {f.name: f.default for f in dataclasses.fields(kind)}
        # The token may come from the environment.
        shared = fields.keys() & found.keys() - {"token"}
        assert len(shared) > 0
        for name in shared:
            expected = OTHER_DEFAULTS.get((path[-1], name), fields[name])
            assert found[name] == expected, name


@pytest.mark.parametrize("path", [("finetune",), ("pretrain", "mlm")])
def test_commands_have_an_option_for_every_field(path):
    names = {f.name for kind in MADE[path] for f in dataclasses.fields(kind)}
    assert names <= parameters(path).keys()


def test_same_field_has_the_same_default_in_every_class():
    """But of tasks that differ, and of blocks that are embedded, not read."""
    found = {}
    for name in options.__all__:
        for field in dataclasses.fields(getattr(options, name)):
            found.setdefault(field.name, {})[name] = field.default
    differ = {n: d for n, d in found.items() if len(set(d.values())) > 1}
    assert differ.pop("batch_size") == {
        "FinetuneOptions": 8,
        "InverseClozeOptions": 32,
        "MaskedSentenceOptions": 8,
        "ReadingOptions": 8,
        "TaggerOptions": 16,
    }
    assert differ.pop("learning_rate").keys() == {
        "FinetuneOptions",
        "TaggerOptions",
        "TrainingOptions",
    }
    assert differ.pop("epochs").keys() == {"FinetuneOptions", "TaggerOptions"}
    assert differ == {}


@pytest.mark.parametrize("name", options.__all__)
def test_every_field_has_a_text_that_stands_alone(name):
    kind = getattr(options, name)
    texts = descriptions(kind)
    assert list(texts) == [field.name for field in dataclasses.fields(kind)]
    for text in texts.values():
        assert text.endswith(".")
        assert not re.search(r"\b(these|those|them|they)\b", text), text


@dataclasses.dataclass
class Options:
    """An example.

    Args:
        count: number of things, at most
            `the_limit`.
        the_limit: most things.
        is_on: whether it works.
        file: what is read.

    Raises:
        ValueError: never.
    """

    count: int = 2
    the_limit: int | None = None
    is_on: bool = True
    file: pathlib.Path | None = None


def run(*arguments, **changes):
    seen = {}

    @click.command()
    @class_options(Options, **changes)
    def command(**values):
        seen["made"] = make(Options, values)

    result = click.testing.CliRunner().invoke(command, arguments)
    return seen.get("made"), result.output


def test_command_without_arguments_makes_the_default():
    assert run()[0] == Options()
    assert run(defaults={"count": 5})[0] == Options(count=5)


def test_every_field_can_be_given(tmp_path):
    file = tmp_path / "a"
    file.touch()
    given = ("--count=3", "--most=4", "--no-is-on", "--file", str(file))
    made, _ = run(*given, flags={"the_limit": "--most"})
    assert made == Options(3, 4, False, file)


def test_help_has_texts_flags_and_defaults():
    _, text = run("--help", flags={"the_limit": "--most"})
    words = " ".join(text.split())
    assert "Number of things, at most --most. [default: 2]" in words
    assert "--most INTEGER Most things. --is-on" in words


def test_fields_that_are_not_given_may_come_from_elsewhere():
    assert make(Options, {"count": 3, "x": 1}, is_on=False) == Options(
        3, is_on=False
    )
