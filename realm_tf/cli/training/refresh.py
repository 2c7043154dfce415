"""realm-tf refresh: the index follows a training on another machine."""

import pathlib

import click

from realm_tf.cli.ui import console, options
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.precision import choose_dtype
from realm_tf.cli.ui.tables import show_facts


@click.command(
    epilog=options.examples(
        "realm-tf refresh --watch preset.training/exchange --corpus corpus",
        "realm-tf refresh --watch gs://bucket/run --corpus corpus",
    )
)
@click.option(
    "--watch",
    required=True,
    help="The folder `exchange` of the training, or its --bucket; may not "
    "exist yet.",
)
@click.option(
    "--work",
    type=options.NEW_PATH,
    help="Folder for copies from a bucket. Default: a temporary folder.",
)
@click.option(
    "--corpus",
    type=options.FOLDER,
    help="Corpus on this machine. Default: the path on the trainer.",
)
@click.option(
    "--timeout",
    type=float,
    help="Seconds without a new snapshot after which to give up.",
)
@options.searcher_option
@click.option(
    "--worker",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Number of this worker, from 0, where several share the work.",
)
@click.option(
    "--num-workers",
    type=options.POSITIVE,
    default=1,
    show_default=True,
    help="Number of workers. Worker 0 builds the index.",
)
@options.dtype_option("mixed_float16")
@options.json_option()
@options.shared_options
def refresh(
    watch: str,
    work: pathlib.Path | None,
    corpus: pathlib.Path | None,
    timeout: float | None,
    searcher: str,
    worker: int,
    num_workers: int,
    dtype: str,
    as_json: bool,
) -> None:
    """Re-embeds all blocks whenever a training writes new weights.

    The command exits when the training ends, and waits while the training is
    stopped.
    """
    prepare_tensorflow()
    from realm_tf.training.refresh.follow_training import follow_training

    count = follow_training(
        watch,
        work=work,
        corpus=corpus,
        dtype=choose_dtype(dtype),
        timeout=timeout,
        on_refresh=lambda step, seconds: console.print_note(
            f"Step {step}: embedded in {seconds:.1f} s."
        ),
        num_workers=num_workers,
        worker=worker,
        searcher=searcher,
    )
    show_facts({"num_refreshes": count}, as_json)
