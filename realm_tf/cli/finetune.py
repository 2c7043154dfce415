"""realm-tf finetune: questions with answers to a trained model."""

import pathlib
import shutil
from typing import TYPE_CHECKING, Any

import click

from realm_tf.cli.evaluate import score_questions
from realm_tf.cli.ui import options
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.model import kept_index
from realm_tf.cli.ui.output import check_output
from realm_tf.cli.ui.precision import choose_dtype
from realm_tf.cli.ui.progress import progress_bar
from realm_tf.cli.ui.tables import folder_bytes, show_facts

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
@click.option("--preset", type=options.FOLDER, help="Go on from this model.")
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
@click.option("--dev-split", help="Score those of this split only.")
@click.option("--skip-bad", is_flag=True, help="Leave bad records out.")
@click.option(
    "--output", "-o", required=True, type=options.NEW_PATH, help="New preset."
)
@click.option("--overwrite", is_flag=True, help="Replace a preset there.")
@click.option(
    "--include-corpus/--no-include-corpus",
    default=None,
    help="Copy the corpus into the preset. Default: if below 256 MiB.",
)
@click.option(
    "--embedding-dim",
    type=options.POSITIVE,
    help="Width of the embeddings, with --bert. Default: that of a "
    "sentence-transformers trunk, 128 for others.",
)
@click.option(
    "--dropout",
    type=options.PROBABILITY,
    default=0.0,
    show_default=True,
    help="Of the trunks; published: 0.1, which takes a third more time.",
)
@options.training_options
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
    include_corpus: bool | None,
    embedding_dim: int | None,
    dropout: float,
    dtype: str,
    as_json: bool,
    **training: Any,
) -> None:
    """Trains a retriever and a reader on questions with answers.

    Records are {"id", "question", "answers"}, and where the answer was marked
    {"passage_id", "answer_start"}. The preset gets the index, too. Without
    further options training suits a small BERT, some ten thousand questions
    and less than an hour on two cores.
    """
    starts = {"bert": bert, "preset": preset}
    given = [(name, path) for name, path in starts.items() if path is not None]
    if len(given) != 1:
        raise click.UsageError("Give either --bert or --preset.")
    if embedding_dim is not None and bert is None:
        raise click.UsageError("--embedding-dim goes with --bert.")
    check_output(output, overwrite)
    prepare_tensorflow()
    import keras

    from realm_tf.data.corpus.corpus import Corpus
    from realm_tf.data.questions.questions import read_questions
    from realm_tf.options import FinetuneOptions
    from realm_tf.training.finetuning import finetune as train_model

    finetune_options = FinetuneOptions(
        **{name: value for name, value in training.items() if value is not None}
    )
    questions = read_questions(train, split=split, skip_bad=skip_bad)
    dev_questions = read_questions(dev, split=dev_split, skip_bad=skip_bad)
    opened = Corpus.open(corpus)
    keras.utils.set_random_seed(finetune_options.seed)
    qa = _untrained(*given[0], embedding_dim, dropout, dtype)
    with progress_bar() as bar:
        report = train_model(
            qa,
            opened,
            questions,
            finetune_options,
            progress=bar.show,
        )
    if include_corpus is None:
        include_corpus = folder_bytes(corpus) < _SMALL_BYTES
    _save(qa, output, include_corpus, overwrite)
    facts = {"preset": str(output), "includes_corpus": include_corpus}
    facts |= _facts(report)
    if dev_questions:
        scores = score_questions(qa, dev_questions, qa.num_read).to_json()
        facts |= {f"dev_{name}": score for name, score in scores.items()}
    show_facts(facts, as_json)


def _untrained(
    start: str,
    folder: pathlib.Path,
    embedding_dim: int | None,
    dropout: float,
    dtype: str,
) -> "RealmQA":
    from realm_tf.checkpoints.bert import BertFolder
    from realm_tf.realm_qa import RealmQA

    policy = choose_dtype(dtype)
    if start == "preset":
        return RealmQA.from_preset(folder, dropout=dropout, dtype=policy)
    if embedding_dim is None:
        embedding_dim = BertFolder.open(folder).finetuned_embedding_dim
    return RealmQA.from_bert(
        folder, embedding_dim=embedding_dim, dropout=dropout, dtype=policy
    )


def _save(
    qa: "RealmQA", output: pathlib.Path, include_corpus: bool, overwrite: bool
) -> None:
    """Writes the preset, with its index in any case."""
    qa.save_to_preset(
        output, include_corpus=include_corpus, overwrite=overwrite
    )
    if not include_corpus:
        index = qa.require_index()
        shutil.copytree(index.path, kept_index(output, index.corpus))


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
