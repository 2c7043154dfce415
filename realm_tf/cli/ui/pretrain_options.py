"""Options of realm-tf pretrain."""

from typing import Any

import click

from realm_tf._constants import MASKED_WORDS_LEARNING_RATE, MASKS
from realm_tf.cli.ui import options
from realm_tf.cli.ui.class_options import class_options
from realm_tf.options import (
    InverseClozeOptions,
    MaskedSentenceOptions,
    RefreshOptions,
    TrainingOptions,
)

_SHARED = (
    click.option("--bert", type=options.FOLDER, help="Start from this BERT."),
    click.option(
        "--preset", type=options.FOLDER, help="Continue from this preset."
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
        help="Folder of checkpoints and figures. Default: OUTPUT.training.",
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
        help="Pooling, with --bert; published: cls. Default: as in the folder.",
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
        help="Use separate embedders for sentences and blocks.",
    ),
    click.option(
        "--block-length",
        type=click.IntRange(min=4),
        help="Tokens of a block in training. Default: what the model reads.",
    ),
    click.option(
        "--probe",
        multiple=True,
        type=options.FILE,
        help="Questions to show recall on; never trained on.",
    ),
    click.option(
        "--probe-split", help="Use the --probe questions of this split only."
    ),
    click.option(
        "--seed",
        type=int,
        default=0,
        show_default=True,
        help="Random seed of weights and data.",
    ),
    click.option(
        "--deterministic",
        is_flag=True,
        help="Compute the same bits in every run; slower.",
    ),
    options.dtype_option("mixed_float16"),
    options.json_option(),
    options.shared_options,
)
_ICT = (
    class_options(
        InverseClozeOptions, "batch_size", "mask_rate", "run_length", "trim"
    ),
    class_options(TrainingOptions),
    click.option(
        "--chunk-size",
        type=options.POSITIVE,
        help="Number of rows embedded at once, to save memory.",
    ),
    click.option(
        "--query-length",
        type=click.IntRange(min=3),
        help="Tokens of a sentence in training. Default: what the model reads.",
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
        help="Folder of the salient spans. Default: beside the corpus of the "
        "sentences.",
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
    class_options(
        MaskedSentenceOptions,
        "batch_size",
        "num_candidates",
        "candidates",
        "own_block",
        "query_length",
        "max_masks",
        "exclude_neighbours",
        "trim",
    ),
    class_options(
        TrainingOptions,
        defaults={"learning_rate": MASKED_WORDS_LEARNING_RATE},
    ),
    class_options(
        RefreshOptions,
        flags={"every_n_steps": "--refresh-every", "mode": "--refresh"},
    ),
    click.option(
        "--marginalize",
        type=click.Choice(["token", "example"]),
        default="token",
        show_default=True,
        help="Sum over blocks for each token, as the original code, or for "
        "each example, as the paper.",
    ),
    click.option(
        "--freeze-retriever",
        is_flag=True,
        help="Train the encoder alone, with frozen embedders.",
    ),
    click.option(
        "--gradient-checkpointing",
        is_flag=True,
        help="Recompute activations for the gradient, to save memory.",
    ),
    click.option(
        "--bucket",
        help="Folder of a bucket (gs://...) where --refresh external is "
        "reached, if not over a shared OUTPUT.training/exchange.",
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
