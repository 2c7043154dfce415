"""realm-tf import: a published checkpoint to a preset."""

import contextlib
import os
import pathlib
import shutil
import time
from typing import TYPE_CHECKING, Any

import click

from realm_tf.cli.ui import options
from realm_tf.cli.ui.class_options import class_options
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.model import kept_index
from realm_tf.cli.ui.output import check_output
from realm_tf.cli.ui.progress import progress_bar
from realm_tf.cli.ui.tables import folder_bytes, show_facts
from realm_tf.options import LoadOptions

if TYPE_CHECKING:
    from realm_tf.checkpoints.checkpoint import Checkpoint, Embeddings
    from realm_tf.data.corpus.corpus import Corpus

_COPIES = 3  # of the text, while a corpus is built


@click.command(
    name="import",
    epilog=options.examples(
        "realm-tf import hf://google/realm-orqa-nq-openqa --output nq \\",
        "    --block-embedder realm-cc-news-pretrained-embedder \\",
        "    --corpus-output wikipedia",
        "realm-tf import cc_news/embedder cc_news/bert \\",
        "    --records enwiki-20181220 --corpus-output wikipedia -o pretrained",
    ),
)
@click.argument("sources", nargs=-1, required=True)
@click.option(
    "--output", "-o", required=True, type=options.NEW_PATH, help="New preset."
)
@click.option("--overwrite", is_flag=True, help="Replace a preset there.")
@click.option(
    "--corpus-output",
    type=options.NEW_PATH,
    help="New corpus, of the checkpoint's blocks, which is indexed with the "
    "checkpoint's embeddings.",
)
@click.option(
    "--records",
    type=options.FILE_OR_FOLDER,
    help="The blocks: block_records.npy, the folder of blocks.tfr, or shards "
    "of a retrieval corpus. Default: the files beside the checkpoint.",
)
@click.option(
    "--embeddings",
    type=options.NEW_PATH,
    help="Prefix of encoded.ckpt. Default: as in the checkpoint.",
)
@click.option(
    "--block-embedder",
    help="Checkpoint that embeds blocks, where only the question embedder "
    "was fine-tuned.",
)
@click.option(
    "--format",
    type=click.Choice(["auto", "hugging_face", "tf1"]),
    default="auto",
    show_default=True,
    help="Layout of the sources.",
)
@class_options(LoadOptions, "num_heads", "vocabulary", "partial")
@options.searcher_option
@options.json_option()
@options.shared_options
def import_checkpoint(
    sources: tuple[str, ...],
    output: pathlib.Path,
    overwrite: bool,
    corpus_output: pathlib.Path | None,
    records: pathlib.Path | None,
    embeddings: pathlib.Path | None,
    block_embedder: str | None,
    searcher: str,
    as_json: bool,
    **load_options: Any,
) -> None:
    """Imports published checkpoints of REALM, ORQA and BERT.

    SOURCES are folders of Hugging Face models, TF1 hub modules, fine-tuned
    ORQA folders, BERTs of Google or Model Garden, or TF checkpoints; on the
    disk, at gs:// or hf://. Several are combined, such as an embedder and an
    encoder. Pickled code is never executed.
    """
    check_output(output, overwrite)
    prepare_tensorflow()
    from realm_tf.checkpoints.loading import combine, load
    from realm_tf.checkpoints.tf1 import open_embeddings

    start = time.monotonic()
    checkpoint = combine(
        [load(source, **load_options) for source in sources],
        load(block_embedder, **load_options) if block_embedder else None,
    )
    matrix = checkpoint.embeddings
    if embeddings is not None:
        matrix = open_embeddings(embeddings)
    facts = _facts(checkpoint) | {"output": str(output)}
    with contextlib.ExitStack() as undo:  # all of it or nothing
        corpus = index = None
        if corpus_output is not None:
            _check_embedder(checkpoint, matrix)
            corpus = _build_corpus(
                checkpoint, records or checkpoint.records, corpus_output, matrix
            )
            undo.callback(shutil.rmtree, corpus_output)
            facts |= {"corpus": str(corpus.path), **corpus.manifest.counts}
        if corpus is not None and matrix is not None:
            index = output.with_name(f".{output.name}.index-{os.getpid()}")
            undo.callback(shutil.rmtree, index, ignore_errors=True)
            _build_index(checkpoint, corpus, matrix, index, searcher)
        checkpoint.save(output, overwrite=overwrite)
        undo.pop_all()
    if corpus is not None and index is not None:
        place = kept_index(output, corpus)
        place.parent.mkdir(parents=True, exist_ok=True)
        index.rename(place)
        facts |= {"index": str(place)}
    facts |= {
        "bytes": folder_bytes(output),
        "seconds": round(time.monotonic() - start, 2),
    }
    if not as_json:
        facts |= {"skipped": _reasons(checkpoint)}
    show_facts(facts, as_json)


def _check_embedder(
    checkpoint: "Checkpoint", matrix: "Embeddings | None"
) -> None:
    if matrix is not None and checkpoint.parts.block_embedder is None:
        raise click.UsageError(
            "Embeddings need the embedder that made them: "
            f"{checkpoint.source} has none. Import one with it."
        )


def _build_corpus(
    checkpoint: "Checkpoint",
    path: pathlib.Path | None,
    output: pathlib.Path,
    matrix: "Embeddings | None",
) -> "Corpus":
    from realm_tf._files import check_disk_space
    from realm_tf.data.published.published_blocks import open_block_records
    from realm_tf.data.published.published_corpus import build_block_corpus

    if path is None:
        raise click.UsageError(
            "--records must be given with --corpus-output: "
            f"{checkpoint.source} has no blocks."
        )
    records = open_block_records(path)
    check_disk_space(output, _COPIES * records.num_bytes)
    num_blocks = matrix.num_blocks if matrix else None
    with progress_bar("corpus") as bar:
        return build_block_corpus(
            records,
            output,
            checkpoint.parts.featurizer,
            num_blocks=num_blocks,
            progress=bar.show,
        )


def _build_index(
    checkpoint: "Checkpoint",
    corpus: "Corpus",
    matrix: "Embeddings",
    path: pathlib.Path,
    searcher: str,
) -> None:
    from realm_tf._files import check_disk_space
    from realm_tf.engine.fingerprints import embedder_fingerprint
    from realm_tf.retrieval.index.block_index import BlockIndex

    parts = checkpoint.parts
    num_rows, dim = matrix.file.shapes[matrix.name]
    check_disk_space(path, 4 * num_rows * dim)
    with progress_bar("index") as bar:
        BlockIndex.build(
            path,
            corpus,
            matrix.file.rows(matrix.name),
            embedder_fingerprint=embedder_fingerprint(
                parts.block_embedder, parts.featurizer
            ),
            searcher=searcher,
            analyzer=None,  # as published
            progress=bar.show,
        )


def _facts(checkpoint: "Checkpoint") -> dict[str, Any]:
    return {
        "source": checkpoint.source,
        "format": checkpoint.format,
        "parts": list(checkpoint.parts.layers),
        "num_used": len(checkpoint.used),
        "num_skipped": len(checkpoint.skipped),
        "num_initial": len(checkpoint.initial),
        "skipped": checkpoint.skipped,
        "initial": list(checkpoint.initial),
        "notes": list(checkpoint.notes),
    }


def _reasons(checkpoint: "Checkpoint") -> list[str]:
    """Why variables were skipped, each reason once."""
    return sorted(set(checkpoint.skipped.values()))
