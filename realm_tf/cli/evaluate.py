"""realm-tf evaluate: a question set to scores."""

import contextlib
import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import click

from realm_tf import _version
from realm_tf.cli.ui import options
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.model import open_model
from realm_tf.cli.ui.progress import progress_bar
from realm_tf.cli.ui.tables import show_facts, show_table

if TYPE_CHECKING:
    from realm_tf.data.questions.qrels import Qrels
    from realm_tf.data.questions.questions import Question
    from realm_tf.evaluation.ranking import RankingReport
    from realm_tf.evaluation.report import Report
    from realm_tf.evaluation.retrieval import RetrievalReport
    from realm_tf.realm_qa import RealmQA

_DEPTH = 100  # documents


@click.command(
    epilog=options.examples(
        "realm-tf evaluate --preset preset --corpus corpus \\",
        "    --questions qa.jsonl.gz --split test --json report.json",
        "realm-tf evaluate --preset preset --corpus corpus --retrieval-only \\",
        "    --questions beir/nfcorpus --split test --run realm.trec",
        "realm-tf evaluate --from-run bm25.trec --from-run realm.both.trec \\",
        "    --qrels qrels.txt --html report.html",
    )
)
@options.preset_option(required=False)
@options.corpus_option(required=False)
@options.index_option()
@click.option(
    "--questions",
    multiple=True,
    type=options.FILE_OR_FOLDER,
    help="JSON lines of questions, or the folder of a BEIR set; may be given "
    "several times.",
)
@click.option("--split", help="Only the questions of this split.")
@click.option(
    "--regex/--no-regex",
    default=None,
    help="Answers are regular expressions. Default: as in each record.",
)
@click.option("--skip-bad", is_flag=True, help="Skip invalid records.")
@options.num_read_option
@click.option(
    "--retrieval-only",
    is_flag=True,
    help="Score the ranking of documents, without reading answers.",
)
@click.option(
    "--features",
    multiple=True,
    type=click.Choice(["embeddings", "words", "both"]),
    help="What blocks are compared by, with --retrieval-only; may be given "
    "several times. Default: all that the model and the index have.",
)
@click.option(
    "--depth",
    type=click.IntRange(min=10),
    help="Number of documents ranked per question, with --retrieval-only. "
    f"Default: {_DEPTH}.",
)
@click.option(
    "--qrels",
    type=options.FILE,
    help="Relevance judgements of TREC or BEIR, for --retrieval-only and "
    "--from-run. Questions may then be lines of id, tab and text. Default: "
    "the passages in the questions.",
)
@click.option(
    "--run",
    "run_file",
    type=options.NEW_FILE,
    help="Write the rankings of --retrieval-only as a run of TREC; with "
    "several features NAME.FEATURE.SUFFIX for each.",
)
@click.option(
    "--from-run",
    "from_runs",
    multiple=True,
    type=options.FILE,
    help="Score a run of TREC, of any system, in place of a model; may be "
    "given several times.",
)
@click.option(
    "--json",
    "report_file",
    type=options.NEW_FILE,
    help="Write the report to this file, and REPORT.questions.jsonl.",
)
@click.option(
    "--html",
    "html_file",
    type=options.NEW_FILE,
    help="Write the report with plots to this file.",
)
@options.dtype_option()
@options.shared_options
def evaluate(
    preset: pathlib.Path | None,
    corpus: pathlib.Path | None,
    index: pathlib.Path | None,
    questions: tuple[pathlib.Path, ...],
    split: str | None,
    regex: bool | None,
    skip_bad: bool,
    num_read: int | None,
    retrieval_only: bool,
    features: tuple[str, ...],
    depth: int | None,
    qrels: pathlib.Path | None,
    run_file: pathlib.Path | None,
    from_runs: tuple[pathlib.Path, ...],
    report_file: pathlib.Path | None,
    html_file: pathlib.Path | None,
    dtype: str,
) -> None:
    """Scores a model on questions with known answers.

    Exact match and F1 as in the official evaluations; recall is the share of
    questions with an answer (or their own passage) in the best k blocks. The
    expected calibration error compares probabilities with how often answers
    are right. Questions without an answer have the field "answers": [].

    With --retrieval-only and --from-run: nDCG@10, mean average precision, mean
    reciprocal rank and recall of documents, as trec_eval computes them.
    """
    given = click.get_current_context().params
    _check_usage(**{name: bool(value) for name, value in given.items()})
    outputs = _Outputs(report_file, html_file, run_file)
    facts: dict[str, Any] = {"library_version": _version.__version__}
    if questions:
        facts |= {"questions": [str(p) for p in questions], "split": split}
    if qrels is not None:
        facts["qrels"] = str(qrels)
    if from_runs:
        from realm_tf.data.questions.qrels import qrels_of, read_qrels

        if qrels is not None:
            judgements = read_qrels(qrels)
        else:
            asked = _read_questions(questions, split, regex, skip_bad)
            judgements = qrels_of(asked)
        rankings = _score_runs(from_runs, judgements)
        facts["runs"] = [str(path) for path in from_runs]
        facts["num_queries"] = next(iter(rankings.values())).num_queries
        outputs.write_rankings(rankings, facts)
        return
    if preset is None:
        _refuse("--preset or --from-run must be given.")
    prepare_tensorflow()
    if qrels is not None:
        asked = _read_judged(questions, qrels)
    else:
        asked = _read_questions(questions, split, regex, skip_bad)
    qa = open_model(preset, corpus, index, dtype=dtype, verify=True)
    facts |= _facts_of_model(qa, preset)
    start = time.monotonic()
    if retrieval_only:
        found = _score_retrieval(qa, asked, features, depth or _DEPTH)
        facts |= found.to_json()
        facts["seconds"] = round(time.monotonic() - start, 2)
        outputs.write_runs(found)
        outputs.write_rankings(found.rankings, facts)
        return
    num_read = num_read or qa.num_read
    report = score_questions(qa, asked, num_read)
    seconds = time.monotonic() - start
    facts = {
        **report.to_json(),
        "num_read": num_read,
        "seconds_per_question": round(seconds / len(asked), 4),
        **facts,
    }
    outputs.write_answers(report, facts)


def _check_usage(**given: bool) -> None:
    of_retrieval = any(
        given[name] for name in ("features", "depth", "run_file")
    )
    of_judgements = given["qrels"] and not given["from_runs"]
    if given["from_runs"]:
        if given["preset"] or given["retrieval_only"]:
            _refuse("--from-run goes without --preset and --retrieval-only.")
        if given["qrels"] == given["questions"]:
            _refuse("--from-run needs either --qrels or --questions.")
    elif not given["questions"]:
        _refuse("--questions must be given.")
    if (of_retrieval or of_judgements) and not given["retrieval_only"]:
        _refuse(
            "--features, --depth, --run and --qrels go with --retrieval-only."
        )
    if given["num_read"] and given["retrieval_only"]:
        _refuse("--num-read goes without --retrieval-only.")
    if given["split"] and given["qrels"]:
        _refuse("--split goes without --qrels, which names the questions.")


def _refuse(message: str) -> NoReturn:
    raise click.UsageError(message)


def _read_questions(
    paths: tuple[pathlib.Path, ...],
    split: str | None,
    regex: bool | None,
    skip_bad: bool,
) -> "list[Question]":
    from realm_tf.data.questions.beir import read_beir
    from realm_tf.data.questions.questions import read_questions, select_split

    asked: list[Question] = []
    for path in paths:
        if path.is_dir():
            asked += read_beir(path)
        else:
            asked += read_questions(path, regex=regex, skip_bad=skip_bad)
    return select_split(asked, split)


def _read_judged(
    paths: tuple[pathlib.Path, ...], qrels: pathlib.Path
) -> "list[Question]":
    from realm_tf.data.questions.beir import QUERIES_NAME, read_queries
    from realm_tf.data.questions.qrels import judged_questions, read_qrels

    files = [path / QUERIES_NAME if path.is_dir() else path for path in paths]
    asked = [question for file in files for question in read_queries(file)]
    return judged_questions(asked, read_qrels(qrels))


def _score_runs(
    paths: tuple[pathlib.Path, ...], judgements: "Qrels"
) -> "dict[str, RankingReport]":
    from realm_tf.evaluation.ranking import evaluate_run
    from realm_tf.evaluation.trec_run import read_run

    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    return {
        name: evaluate_run(read_run(path), judgements)
        for name, path in zip(names, paths, strict=True)
    }


def _score_retrieval(
    qa: "RealmQA",
    questions: "list[Question]",
    features: tuple[str, ...],
    depth: int,
) -> "RetrievalReport":
    from realm_tf.evaluation.ranking import KS

    with progress_bar("retrieval") as bar:
        report: RetrievalReport = qa.evaluate_retrieval(
            questions,
            features=features or None,
            ks=[*(k for k in KS if k < depth), depth],
            return_dict=False,
            progress=bar.show,
        )
    return report


def _facts_of_model(qa: "RealmQA", preset: pathlib.Path) -> dict[str, Any]:
    index = qa.require_index()
    return {
        "lexical_weight": qa.lexical_weight,
        "analyzer": index.analyzer,
        "num_blocks": index.num_blocks,
        "preset": str(preset),
        "corpus": index.corpus.fingerprint,
        "index": index.fingerprint,
    }


def score_questions(
    qa: "RealmQA", questions: list["Question"], num_read: int
) -> "Report":
    """Answers all questions with a progress bar, and scores the answers."""
    with progress_bar("questions") as bar:
        return qa.evaluate(
            questions, num_read=num_read, return_dict=False, progress=bar.show
        )


@dataclasses.dataclass(frozen=True)
class _Outputs:
    """The files to write, whole or not at all; None for those not asked for."""

    report: pathlib.Path | None
    html: pathlib.Path | None
    run: pathlib.Path | None

    def __post_init__(self) -> None:
        for file in (self.report, self.html, self.run):
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)

    def write_answers(self, report: "Report", facts: dict[str, Any]) -> None:
        """Writes and shows the scores of answers."""
        from realm_tf.evaluation.html_report import answers_html

        if self.report is not None:
            _write_report(self.report, facts, report.write_scores)
        if self.html is not None:
            _write_text(self.html, answers_html("Evaluation", report, facts))
        show_facts(facts, as_json=False)

    def write_rankings(
        self,
        rankings: "Mapping[str, RankingReport]",
        facts: dict[str, Any],
    ) -> None:
        """Writes and shows the measures of rankings."""
        from realm_tf.evaluation.html_report import retrieval_html
        from realm_tf.evaluation.ranking import ranking_table, write_scores

        if self.report is not None:
            measures = {name: r.to_json() for name, r in rankings.items()}
            _write_report(
                self.report,
                facts | {"rankings": measures},
                lambda path: write_scores(rankings, path),
            )
        facts = {k: v for k, v in facts.items() if k != "rankings"}
        if self.html is not None:
            _write_text(self.html, retrieval_html("Retrieval", rankings, facts))
        show_facts(facts, as_json=False)
        show_table("Retrieval", *ranking_table(rankings))

    def write_runs(self, report: "RetrievalReport") -> None:
        """Writes a run of each of the features."""
        from realm_tf.evaluation.trec_run import write_run

        for feature, run in report.runs.items():
            path = self.run
            if path is None:
                return
            if len(report.runs) > 1:
                path = path.with_suffix(f".{feature}{path.suffix}")
            with replaced_file(path) as file:
                write_run(run, file, tag=f"realm_tf-{feature}")


def _write_report(
    path: pathlib.Path,
    facts: dict[str, Any],
    write_scores: Callable[[pathlib.Path], None],
) -> None:
    """Writes the questions, then the report: whoever sees it finds both."""
    with replaced_file(path.with_suffix(".questions.jsonl")) as file:
        write_scores(file)
    _write_text(path, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


def _write_text(path: pathlib.Path, text: str) -> None:
    with replaced_file(path) as file:
        file.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def replaced_file(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file beside `path` that takes its place once it is complete."""
    new = path.with_name(f".{path.name}.writing-{os.getpid()}")
    try:
        yield new
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
