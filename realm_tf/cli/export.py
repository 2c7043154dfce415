"""realm-tf export: a model for TensorFlow Serving and the query service."""

import pathlib
import time
from typing import Any

import click

from realm_tf.cli.ui import console, options
from realm_tf.cli.ui.class_options import class_options
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.model import open_model
from realm_tf.cli.ui.progress import progress_bar
from realm_tf.cli.ui.tables import folder_bytes, show_facts
from realm_tf.options import ExportOptions


@click.command(
    epilog=options.examples(
        "realm-tf export --preset preset --corpus corpus --output exported",
        "realm-tf export --preset preset --output exported "
        "--models query_embedder,block_embedder,reader,qa",
        "realm-tf export --check exported",
    )
)
@options.preset_option(required=False)
@options.corpus_option(required=False)
@options.index_option()
@click.option(
    "--output",
    "-o",
    type=options.NEW_PATH,
    help="New folder, or an earlier export, which gets the next version.",
)
@click.option(
    "--models",
    default=",".join(ExportOptions().models).replace("realm_", ""),
    show_default=True,
    help="Names of the models. Also: qa, which answers from the corpus by "
    "itself; scann_qa, with ScaNN's operations, for a server built with them.",
)
@class_options(
    ExportOptions, "num_answers", "storage", "jit_compile", "server_path"
)
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "mixed_bfloat16"]),
    default="float32",
    show_default=True,
    help="Precision in the server; auto suits this machine.",
)
@click.option(
    "--check",
    type=options.FOLDER,
    help="Export nothing; list the operations of an export, and fail if a "
    "stock server has not all of them.",
)
@options.json_option()
@options.shared_options
def export(
    preset: pathlib.Path | None,
    output: pathlib.Path | None,
    check: pathlib.Path | None,
    as_json: bool,
    **arguments: Any,
) -> None:
    """Exports a model for TensorFlow Serving and the query service."""
    prepare_tensorflow()
    if check is not None:
        show_facts(_check(check), as_json)
        return
    if preset is None or output is None:
        raise click.UsageError("--preset and --output must be given.")
    show_facts(_export(preset, output, **arguments), as_json)


def _export(
    preset: pathlib.Path,
    output: pathlib.Path,
    *,
    corpus: pathlib.Path | None,
    index: pathlib.Path | None,
    dtype: str,
    models: str,
    **export_options: Any,
) -> dict[str, Any]:
    from realm_tf.serving import bundle as bundles
    from realm_tf.serving.export.exporter import export as write_export
    from realm_tf.serving.export.server_configs import (
        SCANN_MODELS_CONFIG,
        XLA_FLAG,
    )

    start = time.monotonic()
    chosen = ExportOptions(
        models=tuple(name.strip() for name in models.split(",")),
        **export_options,
    )
    if bundles.SCANN_QA in chosen.models:
        console.print_note(
            f"{bundles.SCANN_QA} needs a server linked with ScaNN's "
            f"operations; start that with {SCANN_MODELS_CONFIG}."
        )
    qa = open_model(
        preset, corpus, index, dtype=dtype, verify=True, needs_corpus=False
    )
    with progress_bar("export") as bar:
        bundle = write_export(
            qa.parts, qa.index, output, chosen, progress=bar.show
        )
    if chosen.jit_compile:
        console.print_note(f"On a processor, start the server with {XLA_FLAG}.")
    return {
        "path": str(output),
        "models": bundle.models,
        "corpus": bundle.corpus,
        "index": bundle.index,
        "bytes": folder_bytes(output),
        "seconds": round(time.monotonic() - start, 2),
        "embedder": bundle.embedder_fingerprint,
        "reader": bundle.reader_fingerprint,
    }


def _check(folder: pathlib.Path) -> dict[str, Any]:
    """Operations of all models of a bundle, or of one SavedModel."""
    from realm_tf.serving.bundle import SCANN_QA, read_bundle
    from realm_tf.serving.export import op_check

    if (folder / op_check.SAVED_MODEL_NAME).is_file():
        paths = [folder]
    else:
        bundle = read_bundle(folder)
        # Exported on demand, for a server that has ScaNN's operations.
        names = sorted(set(bundle.models) - {SCANN_QA})
        paths = [bundle.model_path(name) for name in names]
    ops = {op for path in paths for op in op_check.check_saved_model(path)}
    return {
        "path": str(folder),
        "valid": True,
        "models": [str(path) for path in paths],
        "needs_xla": any(op_check.needs_xla(path) for path in paths),
        "num_ops": len(ops),
        "ops": sorted(ops),
    }
