"""realm-tf calibrate: probabilities that say how often answers are right."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

import click

from realm_tf.cli.ui import options
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.model import open_model
from realm_tf.cli.ui.output import check_output
from realm_tf.cli.ui.progress import progress_bar
from realm_tf.cli.ui.tables import show_facts, show_table

if TYPE_CHECKING:
    from realm_tf.evaluation.confidence import Confidence


@click.command(
    epilog=options.examples(
        "realm-tf calibrate --preset preset --output calibrated \\",
        "    --questions qa.jsonl.gz --questions unanswerable.jsonl.gz",
        "realm-tf calibrate --preset preset --output preset --overwrite \\",
        "    --corpus corpus --questions qa.jsonl.gz --split dev",
    )
)
@options.preset_option()
@options.corpus_option(required=False)
@options.index_option()
@click.option(
    "--questions",
    required=True,
    multiple=True,
    type=options.FILE,
    help="JSON lines of questions that were not trained on; may be given "
    "several times.",
)
@click.option("--split", help="Only the questions of this split.")
@click.option("--skip-bad", is_flag=True, help="Skip invalid records.")
@options.num_read_option
@click.option(
    "--output",
    "-o",
    required=True,
    type=options.NEW_PATH,
    help="Folder of the calibrated preset.",
)
@click.option("--overwrite", is_flag=True, help="Replace a preset there.")
@options.dtype_option()
@options.json_option()
@options.shared_options
def calibrate(
    preset: pathlib.Path,
    corpus: pathlib.Path | None,
    index: pathlib.Path | None,
    questions: tuple[pathlib.Path, ...],
    split: str | None,
    skip_bad: bool,
    num_read: int | None,
    output: pathlib.Path,
    overwrite: bool,
    dtype: str,
    as_json: bool,
) -> None:
    """Fits the probabilities of answers to questions with known answers.

    Chooses a temperature, and the threshold below which there is no answer.
    Questions without an answer have the field "answers": [].
    """
    check_output(output, overwrite)
    prepare_tensorflow()
    from realm_tf.checkpoints.presets import has_index
    from realm_tf.data.questions.questions import read_questions

    asked = read_questions(questions, split=split, skip_bad=skip_bad)
    qa = open_model(preset, corpus, index, dtype=dtype, verify=True)
    with progress_bar("questions") as bar:
        report = qa.calibrate(asked, num_read=num_read, progress=bar.show)
    own = has_index(preset) and corpus is None and index is None
    if not own:
        qa.index = None  # it stays where it is
    qa.save_to_preset(output, include_corpus=own, overwrite=overwrite)
    facts = {"output": str(output), **report.to_json()}
    if as_json:
        facts |= _tables(report.after)
    show_facts(facts, as_json)
    if not as_json:
        _show_reliability(report.before, report.after)
        _show_risk(report.after)


def _tables(confidence: "Confidence") -> dict[str, Any]:
    return {
        "reliability": [
            dataclasses.asdict(b) for b in confidence.reliability()
        ],
        "risk_coverage": [
            dict(zip(("coverage", "risk", "probability"), point, strict=True))
            for point in confidence.risk_coverage()
        ],
    }


def _show_reliability(before: "Confidence", after: "Confidence") -> None:
    rows = []
    for old, new in zip(before.reliability(), after.reliability(), strict=True):
        edges = f"{new.lower:.2f} to {new.upper:.2f}"
        cells = [
            cell
            for b in (old, new)
            for cell in (b.num_answers, b.probability, b.share_right)
        ]
        rows.append([edges, *cells])
    columns = ("answers", "probability", "right")
    show_table(
        "Reliability before and after", ("bin", *columns, *columns), rows
    )


def _show_risk(confidence: "Confidence") -> None:
    show_table(
        "Share of wrong answers, if only the surest are given",
        ("coverage", "wrong", "probability from"),
        confidence.risk_coverage(),
    )
