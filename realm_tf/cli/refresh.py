"""realm-tf refresh: the index follows a training on another machine."""

import atexit
import os
import pathlib
import shutil
import sys
import tempfile
import threading
from typing import TYPE_CHECKING

import click

from realm_tf.cli.ui import console, options
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.precision import choose_dtype
from realm_tf.cli.ui.tables import show_facts

if TYPE_CHECKING:
    from realm_tf.training.refresh.exchange import Exchange


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
    help="Copies from a bucket. Default: a temporary folder.",
)
@click.option(
    "--corpus",
    type=options.FOLDER,
    help="The corpus on this machine. Default: where the trainer has it.",
)
@click.option(
    "--timeout",
    type=float,
    help="Seconds without a new snapshot after which to give up.",
)
@click.option(
    "--searcher",
    type=click.Choice(["auto", "brute_force", "scann"]),
    default="auto",
    show_default=True,
    help="auto is exact below 50,000 blocks.",
)
@click.option(
    "--worker",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Number of this process, where several share the work.",
)
@click.option(
    "--num-workers",
    type=options.POSITIVE,
    default=1,
    show_default=True,
    help="How many share it. Number 0 builds the index; others may end.",
)
@click.option("--child", is_flag=True, hidden=True)
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
    child: bool,
    dtype: str,
    as_json: bool,
) -> None:
    """Embeds all blocks again, whenever a training writes new weights.

    It ends with the training. A training that is stopped and goes on is
    followed by the same process.
    """
    prepare_tensorflow()
    from realm_tf.realm_qa import RealmQA
    from realm_tf.training.refresh.refresher import Refresher, Waiting

    if child:
        threading.Thread(target=_exit_with_trainer, daemon=True).start()
    exchange = _exchange(watch, work, num_workers)
    waiting = Waiting("a training", exchange, timeout)
    while not exchange.is_begun:
        waiting.wait()
    qa = RealmQA.from_preset(exchange.model, dtype=choose_dtype(dtype))
    refresher = Refresher(
        exchange,
        exchange.open_corpus(corpus),
        qa.featurizer,
        qa.query_embedder,
        qa.block_embedder,
        worker=worker,
        num_workers=num_workers,
        searcher=searcher,
    )
    count = refresher.watch(
        timeout=timeout,
        on_refresh=lambda step, seconds: console.print_note(
            f"Step {step}: embedded in {seconds:.1f} s."
        ),
    )
    show_facts({"num_refreshes": count}, as_json)


def _exchange(
    watch: str, work: pathlib.Path | None, num_workers: int
) -> "Exchange":
    from realm_tf.training.refresh.bucket_exchange import BucketExchange
    from realm_tf.training.refresh.exchange import Exchange

    if "://" not in watch:
        return Exchange(watch)
    if num_workers > 1:
        raise click.UsageError(
            "Several workers share a folder, not a bucket. Give --watch a "
            "folder, or leave --num-workers out."
        )
    if work is None:
        work = pathlib.Path(tempfile.mkdtemp(prefix="realm_tf-"))
        atexit.register(shutil.rmtree, work, ignore_errors=True)
    return BucketExchange(watch, work)


def _exit_with_trainer() -> None:
    # The pipe closes when the trainer ends, however it does. What is half
    # embedded then is of no use; the next writer removes it.
    sys.stdin.buffer.read()
    os._exit(0)
