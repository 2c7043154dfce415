"""realm-tf reproduce: the published evaluation, end to end."""

import dataclasses
import hashlib
import json
import pathlib
import time
from typing import TYPE_CHECKING, Any

import click

from realm_tf.cli.ui import console, options
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.model import kept_index
from realm_tf.cli.ui.progress import progress_bar
from realm_tf.cli.ui.tables import show_facts

if TYPE_CHECKING:
    from realm_tf.data.questions.questions import Question
    from realm_tf.realm_qa import RealmQA

# Exact match in percent: of the paper, and of the released weights run again
# with exact search and with ScaNN, over as many test questions.
PUBLISHED: dict[str, dict[str, Any]] = {
    "nq": {
        "paper": 40.4,
        "rerun_exact": 40.416,
        "rerun_scann": 39.723,
        "num_right": 1459,
        "num_questions": 3610,
    },
    "wq": {
        "paper": 40.7,
        "rerun_exact": 41.683,
        "rerun_scann": 41.142,
        "num_right": 847,
        "num_questions": 2032,
    },
}
_SAVED_AT_ONCE = 16  # questions


@click.command(
    epilog=options.examples(
        "realm-tf import realm-orqa-nq-openqa -o nq --corpus-output wikipedia",
        "realm-tf reproduce nq --checkpoint nq --corpus wikipedia \\",
        "    --questions NQ-open.dev.jsonl --output nq.jsonl",
    )
)
@click.argument("task", type=click.Choice(sorted(PUBLISHED)))
@click.option(
    "--checkpoint",
    type=options.FOLDER,
    required=True,
    help="Preset that `realm-tf import` wrote, with its index.",
)
@options.corpus_option()
@options.index_option()
@click.option(
    "--questions", type=options.FILE, required=True, help="The test questions."
)
@click.option(
    "--output",
    "-o",
    type=options.NEW_FILE,
    required=True,
    help="JSON lines, one for each question; a stopped run resumes here.",
)
@click.option(
    "--text",
    type=click.Choice(["official", "slice"]),
    default="official",
    show_default=True,
    help="Answers as the ORQA code spells them, or slices of the block.",
)
@click.option(
    "--exact/--approximate",
    default=True,
    show_default=True,
    help="Score every block, or use the ScaNN files of the index.",
)
@options.json_option()
@options.shared_options
def reproduce(
    task: str,
    checkpoint: pathlib.Path,
    corpus: pathlib.Path,
    index: pathlib.Path | None,
    questions: pathlib.Path,
    output: pathlib.Path,
    text: str,
    exact: bool,
    as_json: bool,
) -> None:
    """Scores a published model as the paper did.

    Prints the exact match beside that of the paper and of the released
    weights in other reproductions.
    """
    prepare_tensorflow()
    from realm_tf.data.corpus.corpus import Corpus
    from realm_tf.data.questions.question_sets import read_question_set
    from realm_tf.realm_qa import RealmQA

    start = time.monotonic()
    opened = Corpus.open(corpus, verify=False)
    asked = read_question_set(questions)
    index = index or kept_index(checkpoint, opened)
    qa = RealmQA.from_preset(checkpoint, official=text == "official")
    qa.open_index(index, opened, exact=exact, verify=False)
    console.print_note(_needs(qa, len(asked)))
    settings = {
        "task": task,
        "text": text,
        "exact": exact,
        "corpus": opened.fingerprint,
        "index": qa.require_index().fingerprint,
        **_fingerprints(qa, asked),
    }
    right = _answer_all(qa, asked, output, settings)
    published = PUBLISHED[task]
    facts = {
        **settings,
        "exact_match": round(100 * right / len(asked), 3),
        "num_right": right,
        "num_questions": len(asked),
        "published": published,
        "is_whole_test_set": len(asked) == published["num_questions"],
        "output": str(output),
        "seconds": round(time.monotonic() - start, 2),
    }
    show_facts(facts, as_json)


def _fingerprints(qa: "RealmQA", asked: list["Question"]) -> dict[str, str]:
    """What else a run must share with the run that it resumes."""
    from realm_tf.engine.fingerprints import (
        embedder_fingerprint,
        reader_fingerprint,
    )

    records = [dataclasses.asdict(question) for question in asked]
    return {
        "query_embedder": embedder_fingerprint(
            qa.query_embedder, qa.featurizer
        ),
        "reader": reader_fingerprint(qa.reader, qa.featurizer),
        "questions": hashlib.sha256(json.dumps(records).encode()).hexdigest(),
    }


def _needs(qa: "RealmQA", num_questions: int) -> str:
    """What the run takes, before it begins."""
    index = qa.require_index()
    matrix = index.corpus.num_blocks * index.embedding_dim * 4
    weights = 4 * sum(
        part.count_params() for part in (qa.query_embedder, qa.reader)
    )
    return (
        f"Needs {weights / 2**30:.2f} GiB of memory for the weights and, for "
        f"speed, {matrix / 2**30:.2f} GiB for the embeddings of "
        f"{index.corpus.num_blocks:,} blocks, which are mapped from the disk; "
        f"{num_questions * 512 / 2**20:.1f} MiB of disk for the answers."
    )


def _answer_all(
    qa: "RealmQA",
    asked: list["Question"],
    output: pathlib.Path,
    settings: dict[str, Any],
) -> int:
    """Answers what is not answered yet; returns how many are right."""
    from realm_tf.evaluation.exact_match import exact_match

    done = _read_done(output, settings)
    with (
        open(output, "a", encoding="utf-8") as file,
        progress_bar("questions") as bar,
    ):
        if not done:
            file.write(json.dumps({"settings": settings}) + "\n")
        right = sum(record["exact_match"] for record in done)
        for start in range(len(done), len(asked), _SAVED_AT_ONCE):
            part = asked[start : start + _SAVED_AT_ONCE]
            answers = qa.predict(
                [question.question for question in part], num_alternatives=0
            )
            for question, answer in zip(part, answers, strict=True):
                is_right = exact_match(
                    answer.text, question.answers, regex=question.regex
                )
                right += is_right
                record = {
                    "id": question.question_id,
                    "question": question.question,
                    "prediction": answer.text,
                    "answers": list(question.answers),
                    "exact_match": is_right,
                    "probability": answer.probability,
                    "block_id": answer.block.block_id,
                }
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
            file.flush()
            bar.show("questions", start + len(part), len(asked), {})
    return right


def _read_done(
    output: pathlib.Path, settings: dict[str, Any]
) -> list[dict[str, Any]]:
    """Answers of an earlier run; a half-written last line is cut off."""
    if not output.exists():
        return []
    lines = output.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
        output.write_bytes(b"".join(lines))
    records = [json.loads(line) for line in lines]
    if records and records[0].get("settings") != settings:
        raise ValueError(
            f"{output} must be of the run that is resumed. Received: "
            f"{records[0].get('settings')}, now {settings}. Choose another "
            "--output, or remove it."
        )
    return records[1:]
