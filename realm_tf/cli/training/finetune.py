"""realm-tf finetune: questions with answers to a trained model."""

import pathlib
from typing import TYPE_CHECKING, Any

import click

from realm_tf._files import copy_folder
from realm_tf.cli.evaluate import score_questions
from realm_tf.cli.ui import options
from realm_tf.cli.ui.class_options import class_options, make
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.model import kept_index
from realm_tf.cli.ui.output import check_output
from realm_tf.cli.ui.precision import choose_dtype
from realm_tf.cli.ui.progress import progress_bar
from realm_tf.cli.ui.tables import folder_bytes, show_facts
from realm_tf.options import FinetuneOptions

if TYPE_CHECKING:
    from realm_tf.realm_qa import RealmQA
    from realm_tf.training.finetuning import FinetuneReport

_SMALL_BYTES = 256 * 2**20  # corpora below are copied into the preset


@click.command(
    epilog=options.examples(
        "realm-tf finetune --bert all-MiniLM-L6-v2 --corpus corpus \\",
        "    --train qa.jsonl.gz --split train --output preset",
        "realm-tf finetune --preset preset --corpus corpus \\",
        "    --train more.jsonl --dev dev.jsonl --output better",
    )
)
@click.option("--bert", type=options.FOLDER, help="Start from this BERT.")
@click.option(
    "--preset", type=options.PRESET, help="Continue from this preset."
)
@options.corpus_option()
@click.option(
    "--train",
    required=True,
    multiple=True,
    type=options.FILE,
    help="JSON lines of questions; may be given several times.",
)
@click.option("--split", help="Train on the questions of this split only.")
@click.option(
    "--dev",
    multiple=True,
    type=options.FILE,
    help="Questions to score the trained model on.",
)
@click.option(
    "--dev-split", help="Score the --dev questions of this split only."
)
@click.option("--skip-bad", is_flag=True, help="Skip invalid records.")
@click.option(
    "--output", "-o", required=True, type=options.NEW_PATH, help="New preset."
)
@click.option("--overwrite", is_flag=True, help="Replace a preset there.")
@click.option(
    "--work",
    type=options.NEW_PATH,
    help="Folder of the run. Give the same command to resume a run that was "
    "stopped. Default: none.",
)
@click.option(
    "--include-corpus/--no-include-corpus",
    default=None,
    help="Copy the corpus into the preset. Default: if below 256 MiB.",
)
@click.option(
    "--embedding-dim",
    type=options.POSITIVE,
    help="Width of the embeddings, with --bert. Default: that of the model "
    "with mean pooling, otherwise 128.",
)
@click.option(
    "--dropout",
    type=options.PROBABILITY,
    help="Dropout rate in training; published: 0.1, which takes a third more "
    "time. Default: that of the preset, 0 with --bert.",
)
@class_options(FinetuneOptions)
@options.dtype_option()
@options.json_option()
@options.shared_options
def finetune(
    bert: pathlib.Path | None,
    preset: pathlib.Path | None,
    corpus: pathlib.Path,
    train: tuple[pathlib.Path, ...],
    split: str | None,
    dev: tuple[pathlib.Path, ...],
    dev_split: str | None,
    skip_bad: bool,
    output: pathlib.Path,
    overwrite: bool,
    work: pathlib.Path | None,
    include_corpus: bool | None,
    embedding_dim: int | None,
    dropout: float | None,
    dtype: str,
    as_json: bool,
    **training: Any,
) -> None:
    """Trains a retriever and a reader on questions with answers.

    Records are {"id", "question", "answers"}, with {"passage_id",
    "answer_start"} where the answer is marked. The index is saved in the
    preset. The default options suit a small BERT and some ten thousand
    questions, which take less than an hour on two cores.
    """
    given = [path for path in (bert, preset) if path is not None]
    if len(given) != 1:
        raise click.UsageError("Give either --bert or --preset.")
    if embedding_dim is not None and bert is None:
        raise click.UsageError("--embedding-dim goes with --bert.")
    finetune_options = make(FinetuneOptions, training)
    check_output(output, overwrite)
    prepare_tensorflow()
    import keras

    from realm_tf.data.corpus.corpus import Corpus
    from realm_tf.data.questions.questions import read_questions
    from realm_tf.realm_qa import RealmQA

    questions = read_questions(train, split=split, skip_bad=skip_bad)
    dev_questions = read_questions(dev, split=dev_split, skip_bad=skip_bad)
    opened = Corpus.open(corpus)
    keras.utils.set_random_seed(finetune_options.seed)
    qa = RealmQA.from_preset(
        given[0],
        embedding_dim=embedding_dim,
        dropout=dropout,
        dtype=choose_dtype(dtype),
    )
    with progress_bar() as bar:
        history = qa.fit(
            questions,
            opened,
            options=finetune_options,
            work=work,
            verbose=0,
            progress=bar.show,
        )
    if include_corpus is None:
        include_corpus = folder_bytes(corpus) < _SMALL_BYTES
    _save(qa, output, include_corpus, overwrite)
    facts = {"preset": str(output), "includes_corpus": include_corpus}
    facts |= _facts(history.report)
    facts["lexical_weight"] = round(qa.lexical_weight, 4)
    if dev_questions:
        scores = score_questions(qa, dev_questions, qa.num_read).to_json()
        facts |= {f"dev_{name}": score for name, score in scores.items()}
    show_facts(facts, as_json)


def _save(
    qa: "RealmQA", output: pathlib.Path, include_corpus: bool, overwrite: bool
) -> None:
    """Writes the preset, with its index in any case."""
    qa.save_to_preset(
        output, include_corpus=include_corpus, overwrite=overwrite
    )
    if not include_corpus:
        index = qa.require_index()
        copy_folder(index.path, kept_index(output, index.corpus))


def _facts(report: "FinetuneReport") -> dict[str, Any]:
    facts: dict[str, Any] = {
        "num_questions": report.num_questions,
        "num_left_out": report.num_left_out,
        "seconds": {
            stage: round(seconds, 1)
            for stage, seconds in report.seconds.items()
        },
    }
    for stage, history in report.history.items():
        facts[stage] = {name: values[-1] for name, values in history.items()}
    return facts
