"""Options and arguments that several commands have."""

import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import Any

import click

from realm_tf._constants import ANALYZERS, SEARCHERS, STORAGES

Decorator = Callable[[Any], Any]

FOLDER = click.Path(exists=True, file_okay=False, path_type=pathlib.Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=pathlib.Path)
FILE_OR_FOLDER = click.Path(exists=True, path_type=pathlib.Path)
NEW_FILE = click.Path(dir_okay=False, path_type=pathlib.Path)
NEW_PATH = click.Path(path_type=pathlib.Path)


class _Preset(click.Path):
    """The folder of a preset, or the name of one, see `RealmQA.presets`."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        from realm_tf.checkpoints.named_presets import PRESETS

        named = PRESETS.get(os.fspath(value))
        return super().convert(named.path if named else value, param, ctx)


PRESET = _Preset(exists=True, file_okay=False, path_type=pathlib.Path)
PROBABILITY = click.FloatRange(0, 1)
POSITIVE = click.IntRange(min=1)


@dataclasses.dataclass
class Settings:
    """What every command can be told.

    Args:
        quiet: show no progress.
        debug: show the traceback of an error, and what TensorFlow logs.
    """

    quiet: bool = False
    debug: bool = False


def examples(*lines: str) -> str:
    """Epilog of a command's help, which click then leaves as it is."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def shared_options(command: Any) -> Any:
    """Adds `--quiet` and `--debug`, kept in the context's `Settings`."""
    for flags, text in (
        (("--debug",), "Show the traceback of an error."),
        (("-q", "--quiet"), "Show no progress."),
    ):
        command = click.option(
            *flags,
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_remember,
            help=text,
        )(command)
    return command


def searcher_option(command: Any) -> Any:
    """Adds `--searcher`."""
    return click.option(
        "--searcher",
        type=click.Choice(SEARCHERS),
        default="auto",
        show_default=True,
        help="Searcher of the index; auto is exact below 50,000 blocks.",
    )(command)


def storage_option(command: Any) -> Any:
    """Adds `--storage`."""
    return click.option(
        "--storage",
        type=click.Choice(STORAGES),
        default="float32",
        show_default=True,
        help="Type of the stored embeddings; bfloat16 takes half the space.",
    )(command)


def analyzer_option(command: Any) -> Any:
    """Adds `--analyzer`; the command gets None for none."""
    return click.option(
        "--analyzer",
        type=click.Choice(["none", *ANALYZERS]),
        default="english",
        show_default=True,
        callback=lambda _, __, name: None if name == "none" else name,
        help="Language whose endings the lexical search ignores; plain ignores "
        "none, none leaves the lexical search out.",
    )(command)


def force_option(command: Any) -> Any:
    """Adds `--force`."""
    return click.option(
        "--force",
        is_flag=True,
        help="Start even if memory or disk will not do.",
    )(command)


def num_read_option(command: Any) -> Any:
    """Adds `--num-read`."""
    return click.option(
        "--num-read",
        type=POSITIVE,
        help="Number of blocks read per question. Default: as in the preset.",
    )(command)


def _remember(
    context: click.Context, option: click.Parameter, on: bool
) -> None:
    if on:
        setattr(context.ensure_object(Settings), option.name or "", True)


def preset_option(required: bool = True) -> Decorator:
    """`--preset`: the model."""
    return click.option(
        "--preset",
        type=PRESET,
        required=required,
        help="Folder of the model, or a name that `realm-tf presets` lists.",
    )


def corpus_option(required: bool = True) -> Decorator:
    """`--corpus`: the blocks."""
    text = "Corpus folder."
    if not required:
        text += " Default: the corpus inside the preset."
    return click.option("--corpus", type=FOLDER, required=required, help=text)


def index_option() -> Decorator:
    """`--index`: the embeddings."""
    return click.option(
        "--index",
        type=FOLDER,
        help="Index folder. Default: the one inside the preset, which is "
        "built there if need be.",
    )


def tokenizer_options(command: Any) -> Any:
    """Adds `--tokenizer` and `--cased`."""
    command = click.option(
        "--cased", is_flag=True, help="The vocab.txt keeps capitals."
    )(command)
    return click.option(
        "--tokenizer",
        type=FILE_OR_FOLDER,
        help="A preset, a BERT folder or a vocab.txt. Default: uncased BERT.",
    )(command)


def json_option() -> Decorator:
    """`--json`: output for programs."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print JSON for programs."
    )


def dtype_option(*more: str) -> Decorator:
    """`--dtype`: precision of the computation.

    Args:
        *more: policies that only some commands can take.
    """
    return click.option(
        "--dtype",
        type=click.Choice(["auto", "float32", "mixed_bfloat16", *more]),
        default="auto",
        show_default=True,
        help="Precision; auto is bfloat16 on hardware that has bfloat16.",
    )


def beam_options(command: Any) -> Any:
    """Adds `--runner` and `--beam-option`."""
    command = click.option(
        "--beam-option",
        "beam_options",
        multiple=True,
        metavar="NAME=VALUE",
        help="Pipeline option of Beam, such as direct_num_workers=2; may be "
        "repeated.",
    )(command)
    return click.option(
        "--runner",
        help="Run on this runner of Apache Beam, such as DirectRunner or "
        "FlinkRunner. Default: this machine, without Beam.",
    )(command)


def check_beam(
    runner: str | None, beam_options: tuple[str, ...], processes: int | None
) -> None:
    """Refuses options that belong to the other way of running.

    Raises:
        UsageError: if so.
    """
    if runner is None and beam_options:
        raise click.UsageError(
            "--beam-option must come with --runner. Received: "
            f"{' '.join(beam_options)}. Name the runner."
        )
    if runner is not None and processes is not None:
        raise click.UsageError(
            "--processes must not come with --runner. Received: "
            f"{processes}. Give the runner's own option, such as "
            f"--beam-option direct_num_workers={processes}."
        )
