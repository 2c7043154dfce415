"""Options of realm-tf pretrain."""

from typing import Any

import click

from realm_tf._constants import MASKS
from realm_tf.cli.ui import options

_SHARED = (
    click.option("--bert", type=options.FOLDER, help="Start from this BERT."),
    click.option(
        "--preset", type=options.FOLDER, help="Go on from this model."
    ),
    options.corpus_option(),
    click.option(
        "--output",
        "-o",
        required=True,
        type=options.NEW_PATH,
        help="New preset.",
    ),
    click.option("--overwrite", is_flag=True, help="Replace a preset there."),
    click.option(
        "--work",
        type=options.NEW_PATH,
        help="Checkpoints and figures. Default: OUTPUT.training.",
    ),
    click.option(
        "--embedding-dim",
        type=options.POSITIVE,
        help="Width of the embeddings, with --bert. Default: that of the "
        "model with mean pooling, otherwise 128.",
    ),
    click.option(
        "--pooling",
        type=click.Choice(["cls", "mean"]),
        help="With --bert; cls is published. Default: what the folder says.",
    ),
    click.option(
        "--logit-scale",
        type=click.FloatRange(min=0, min_open=True),
        help="Inner product of an embedding with itself at the start, with "
        "--bert and pooling cls. Default: --embedding-dim, as published, "
        "which is sharp; 20 suits small batches.",
    ),
    click.option(
        "--dropout",
        type=options.PROBABILITY,
        help="Dropout rate in training; published: 0.1, which takes a third "
        "more time. Default: that of the preset, 0 with --bert.",
    ),
    click.option(
        "--separate-embedders",
        is_flag=True,
        help="Give sentences an embedder of their own.",
    ),
    click.option(
        "--block-length",
        type=click.IntRange(min=4),
        help="Wordpieces of a block in training. Default: the model's.",
    ),
    click.option(
        "--probe",
        multiple=True,
        type=options.FILE,
        help="Questions whose recall is shown; never trained on.",
    ),
    click.option("--probe-split", help="Those of this split only."),
    click.option(
        "--num-steps",
        type=options.POSITIVE,
        help="Steps in all. Default: 100,000.",
    ),
    click.option(
        "--num-warmup-steps",
        type=click.IntRange(min=0),
        help="Default: a tenth, 100 to 10,000.",
    ),
    click.option(
        "--checkpoint-every",
        type=options.POSITIVE,
        help="Steps, a multiple of --log-every. Default: 500.",
    ),
    click.option(
        "--log-every",
        type=options.POSITIVE,
        help="Steps whose figures are averaged. Default: 50.",
    ),
    click.option(
        "--seed",
        type=int,
        default=0,
        show_default=True,
        help="Of weights and data.",
    ),
    click.option(
        "--static-shapes",
        is_flag=True,
        help="Pad to the full length always, for XLA and TPU.",
    ),
    click.option(
        "--deterministic",
        is_flag=True,
        help="The same to the last bit in every run; slower.",
    ),
    options.dtype_option("mixed_float16"),
    options.json_option(),
    options.shared_options,
)
_ICT = (
    click.option(
        "--batch-size",
        type=click.IntRange(min=2),
        default=32,
        show_default=True,
        help="Blocks; published: 4096.",
    ),
    click.option(
        "--learning-rate",
        type=float,
        default=1e-4,
        show_default=True,
        help="Peak.",
    ),
    click.option(
        "--mask-rate",
        type=options.PROBABILITY,
        default=0.9,
        show_default=True,
        help="How often the sentence leaves its block.",
    ),
    click.option(
        "--run-length",
        type=options.POSITIVE,
        help="Neighbouring blocks in a batch. Default: a twelfth of it.",
    ),
    click.option(
        "--chunk-size",
        type=options.POSITIVE,
        help="Rows embedded at once, to save memory.",
    ),
    click.option(
        "--query-length",
        type=click.IntRange(min=3),
        help="Wordpieces of a sentence in training. Default: the model's.",
    ),
    click.option(
        "--probe-every",
        type=options.POSITIVE,
        help="Steps between probes. Default: the first step and the last.",
    ),
    click.option(
        "--keep-duplicates",
        is_flag=True,
        help="Let equal blocks be negatives of each other.",
    ),
)
_MLM = (
    click.option(
        "--text",
        type=options.FOLDER,
        help="Corpus of the sentences. Default: --corpus.",
    ),
    click.option(
        "--spans",
        type=options.NEW_PATH,
        help="Default: beside the corpus of the sentences.",
    ),
    click.option(
        "--masks",
        type=click.Choice(MASKS),
        default="salient",
        show_default=True,
        help="What is masked; recurring: salient spans that another block has, "
        "too.",
    ),
    click.option(
        "--passage-bytes",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Text around a sentence with random masks, as BERT reads it; 0 "
        "for the sentence alone.",
    ),
    click.option(
        "--batch-size",
        type=options.POSITIVE,
        default=8,
        show_default=True,
        help="Sentences; published: 512.",
    ),
    click.option(
        "--learning-rate",
        type=float,
        default=3e-5,
        show_default=True,
        help="Peak.",
    ),
    click.option(
        "--num-candidates",
        type=options.POSITIVE,
        default=8,
        show_default=True,
        help="Blocks for each, the null block counted.",
    ),
    click.option(
        "--candidates",
        type=click.Choice(["search", "mentions"]),
        default="search",
        show_default=True,
        help="mentions: any blocks that have the recurring span, which teaches "
        "to read.",
    ),
    click.option(
        "--own-block",
        type=click.Choice(["exclude", "cut"]),
        default="exclude",
        show_default=True,
        help="cut: the sentence's block may be found, without the sentence; "
        "for a corpus that says most things once.",
    ),
    click.option(
        "--query-length",
        type=click.IntRange(min=3),
        default=96,
        show_default=True,
        help="Wordpieces of a sentence.",
    ),
    click.option(
        "--max-masks",
        type=options.POSITIVE,
        default=10,
        show_default=True,
        help="Wordpieces in the loss of a sentence.",
    ),
    click.option(
        "--exclude-neighbours",
        is_flag=True,
        help="Leave out all blocks of the sentence's article.",
    ),
    click.option(
        "--marginalize",
        type=click.Choice(["token", "example"]),
        default="token",
        show_default=True,
        help="As the code, or as the paper.",
    ),
    click.option(
        "--freeze-retriever",
        is_flag=True,
        help="Teach the encoder to read, with the embedders as they are.",
    ),
    click.option(
        "--gradient-checkpointing",
        is_flag=True,
        help="Compute activations twice, to save memory.",
    ),
    click.option(
        "--refresh-every",
        type=options.POSITIVE,
        default=500,
        show_default=True,
        help="Steps.",
    ),
    click.option(
        "--refresh",
        type=click.Choice(["sync", "background", "external"]),
        default="sync",
        show_default=True,
        help="Where the index is refreshed.",
    ),
    click.option(
        "--bucket",
        help="Folder of a bucket (gs://...) where --refresh external is "
        "reached, if not over a shared OUTPUT.training/exchange.",
    ),
    click.option(
        "--max-staleness-steps",
        type=options.POSITIVE,
        help="Oldest index to train with, at least --refresh-every.",
    ),
    click.option(
        "--on-stale",
        type=click.Choice(["wait", "warn", "stop"]),
        default="wait",
        show_default=True,
        help="What to do with an older one.",
    ),
    click.option(
        "--timeout",
        type=float,
        help="Seconds to wait for an index of another process. Default: any.",
    ),
)


def shared(command: Any) -> Any:
    """Adds the options of both stages."""
    return _add(_SHARED, command)


def ict(command: Any) -> Any:
    """Adds the options of the Inverse Cloze Task."""
    return _add(_ICT, command)


def mlm(command: Any) -> Any:
    """Adds the options of masked words."""
    return _add(_MLM, command)


def _add(decorators: tuple[options.Decorator, ...], command: Any) -> Any:
    for decorate in reversed(decorators):
        command = decorate(command)
    return command
