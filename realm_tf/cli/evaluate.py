"""realm-tf evaluate: a question set to scores."""

import contextlib
import json
import os
import pathlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from realm_tf import _version
from realm_tf.cli.ui import options
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.model import open_model
from realm_tf.cli.ui.progress import progress_bar
from realm_tf.cli.ui.tables import show_facts

if TYPE_CHECKING:
    from realm_tf.data.questions.questions import Question
    from realm_tf.evaluation.report import Report
    from realm_tf.realm_qa import RealmQA


@click.command(
    epilog=options.examples(
        "realm-tf evaluate --preset preset --corpus corpus \\",
        "    --questions qa.jsonl.gz --split test --json report.json",
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
    help="JSON lines of questions; may be given several times.",
)
@click.option("--split", help="Only the questions of this split.")
@click.option(
    "--regex/--no-regex",
    default=None,
    help="Answers are regular expressions. Default: as in each record.",
)
@click.option("--skip-bad", is_flag=True, help="Skip invalid records.")
@click.option(
    "--num-read",
    type=options.POSITIVE,
    help="Number of blocks read per question. Default: as in the preset.",
)
@click.option(
    "--json",
    "report_file",
    type=options.NEW_FILE,
    help="Write the report to this file, and REPORT.questions.jsonl.",
)
@options.dtype_option()
@options.shared_options
def evaluate(
    preset: pathlib.Path,
    corpus: pathlib.Path | None,
    index: pathlib.Path | None,
    questions: tuple[pathlib.Path, ...],
    split: str | None,
    regex: bool | None,
    skip_bad: bool,
    num_read: int | None,
    report_file: pathlib.Path | None,
    dtype: str,
) -> None:
    """Scores a model on questions with known answers.

    Exact match and F1 as in the official evaluations; recall is the share of
    questions with an answer (or their own passage) in the best k blocks. The
    expected calibration error compares probabilities with how often answers
    are right. Questions without an answer have the field "answers": [].
    """
    prepare_tensorflow()
    from realm_tf.data.questions.questions import read_questions

    if report_file is not None:
        report_file.parent.mkdir(parents=True, exist_ok=True)
    asked = read_questions(
        questions, split=split, regex=regex, skip_bad=skip_bad
    )
    qa = open_model(preset, corpus, index, dtype=dtype, verify=True)
    start = time.monotonic()
    num_read = num_read or qa.num_read
    report = score_questions(qa, asked, num_read)
    seconds = time.monotonic() - start
    index_used = qa.require_index()
    facts = report.to_json() | {
        "num_read": num_read,
        "num_blocks": index_used.num_blocks,
        "seconds_per_question": round(seconds / len(asked), 4),
        "questions": [str(path) for path in questions],
        "split": split,
        "preset": str(preset),
        "corpus": index_used.corpus.fingerprint,
        "index": index_used.fingerprint,
        "library_version": _version.__version__,
    }
    if report_file is not None:
        _write(report, facts, report_file)
    show_facts(facts, as_json=False)


def score_questions(
    qa: "RealmQA", questions: list["Question"], num_read: int
) -> "Report":
    """Answers all questions with a progress bar, and scores the answers."""
    with progress_bar("questions") as bar:
        return qa.evaluate(
            questions, num_read=num_read, return_dict=False, progress=bar.show
        )


def _write(report: "Report", facts: dict[str, Any], path: pathlib.Path) -> None:
    """Writes the questions, then the report: whoever sees it finds both."""
    with replaced_file(path.with_suffix(".questions.jsonl")) as file:
        report.write_scores(file)
    with replaced_file(path) as file:
        text = json.dumps(facts, indent=1, ensure_ascii=False)
        file.write_text(text + "\n", encoding="utf-8")


@contextlib.contextmanager
def replaced_file(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file beside `path` that takes its place once it is complete."""
    new = path.with_name(f".{path.name}.writing-{os.getpid()}")
    try:
        yield new
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
