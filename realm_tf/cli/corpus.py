"""realm-tf corpus: from documents to a folder of blocks."""

import pathlib
import time
from typing import Any

import click

from realm_tf.cli.ui import options
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.progress import progress_bar
from realm_tf.cli.ui.tables import folder_bytes, show_facts

_FORMATS = (
    *("auto", "jsonl", "json", "tsv", "csv", "text", "markdown", "html"),
    *("wikiextractor", "wikipedia"),
)


@click.group()
def corpus() -> None:
    """Builds corpora: documents, cut into blocks of text."""


@corpus.command(
    epilog=options.examples(
        "realm-tf corpus build passages.jsonl.gz --output corpus",
        "realm-tf corpus build notes/ --format text --output corpus",
        "realm-tf corpus build enwiki-pages-articles.xml.bz2 -o corpus",
        "realm-tf corpus build shards/ -o corpus --runner FlinkRunner "
        "--beam-option flink_master=HOST:8081",
    )
)
@click.argument("sources", nargs=-1, required=True, type=options.FILE_OR_FOLDER)
@click.option(
    "--output", "-o", required=True, type=options.NEW_PATH, help="New folder."
)
@click.option(
    "--format",
    type=click.Choice(_FORMATS),
    default="auto",
    show_default=True,
    help="Format of the files; auto detects the format.",
)
@options.tokenizer_options
@click.option(
    "--max-wordpieces",
    type=click.IntRange(min=4),
    default=288,
    show_default=True,
    help="Longest block in tokens, title included.",
)
@click.option(
    "--processes",
    type=options.POSITIVE,
    help="Number of processes. Default: 1 for up to 32 MiB of files, else "
    "one a core.",
)
@click.option(
    "--skip-bad", is_flag=True, help="Skip and count invalid records."
)
@click.option(
    "--skip-navigation/--keep-navigation",
    default=None,
    help="Skip lists and disambiguation pages. Default: for Wikipedia only.",
)
@options.force_option
@options.beam_options
@options.json_option()
@options.shared_options
def build(
    sources: tuple[pathlib.Path, ...],
    output: pathlib.Path,
    tokenizer: pathlib.Path | None,
    cased: bool,
    processes: int | None,
    runner: str | None,
    beam_options: tuple[str, ...],
    as_json: bool,
    **build_options: Any,
) -> None:
    """Builds a corpus from files and folders.

    JSON lines hold {"id", "title", "text"}, tables have columns of these names.
    Files that hold no documents are left out, named and counted. Give the same
    command to resume a build that was stopped. With --runner, the workers need
    the files and the output under the same paths.
    """
    options.check_beam(runner, beam_options, processes)
    prepare_tensorflow()
    from realm_tf.cli.ui.tokenizer import open_tokenizer
    from realm_tf.data.corpus.corpus_builder import build_corpus

    start = time.monotonic()
    featurizer = open_tokenizer(tokenizer, cased=cased)
    if runner is not None:
        from realm_tf.pipelines import BuildCorpus

        transform = BuildCorpus(sources, output, featurizer, **build_options)
        built = transform.run(runner, *beam_options)
    else:
        with progress_bar("corpus") as bar:
            built = build_corpus(
                sources,
                output,
                featurizer,
                num_processes=processes,
                progress=bar.show,
                **build_options,
            )
    facts = _facts(built) | {"seconds": round(time.monotonic() - start, 2)}
    show_facts(facts, as_json)


@corpus.command(epilog=options.examples("realm-tf corpus info corpus"))
@click.argument("folder", type=options.FOLDER)
@options.json_option()
@options.shared_options
def info(folder: pathlib.Path, as_json: bool) -> None:
    """Tells what a corpus holds."""
    from realm_tf.data.corpus.corpus import Corpus

    show_facts(_facts(Corpus.open(folder, verify=False)), as_json)


@corpus.command(epilog=options.examples("realm-tf corpus verify corpus"))
@click.argument("folder", type=options.FOLDER)
@options.json_option()
@options.shared_options
def verify(folder: pathlib.Path, as_json: bool) -> None:
    """Compares every file of a corpus with its SHA-256."""
    from realm_tf.data.corpus.corpus import Corpus

    opened = Corpus.open(folder, verify=True)
    files = len(opened.manifest.files)
    show_facts({"path": str(folder), "valid": True, "files": files}, as_json)


def _facts(opened: Any) -> dict[str, Any]:
    manifest = opened.manifest
    return {
        "path": str(opened.path),
        **manifest.counts,
        **{name: _ordered(value) for name, value in manifest.options.items()},
        "bytes": folder_bytes(opened.path),
        "fingerprint": manifest.fingerprint,
        "tokenizer": opened.tokenizer_fingerprint,
        "library_version": manifest.library_version,
    }


def _ordered(value: Any) -> Any:
    """Counts by name, the largest first; other values unchanged."""
    if not isinstance(value, dict):
        return value
    return dict(sorted(value.items(), key=lambda item: -item[1]))
