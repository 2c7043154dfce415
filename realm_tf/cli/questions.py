"""realm-tf questions: published question sets to JSON lines."""

import collections
import dataclasses
import pathlib

import click

from realm_tf.cli.ui import options
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.tables import show_facts


@click.command(
    epilog=options.examples(
        "realm-tf questions NQ-open.train.jsonl --resplit -o nq.jsonl",
        "realm-tf questions WebQuestions-test.txt --split test -o wq.jsonl",
        "realm-tf questions beir/nfcorpus -o nfcorpus.jsonl",
    )
)
@click.argument("sources", nargs=-1, required=True, type=options.FILE_OR_FOLDER)
@click.option(
    "--output", "-o", required=True, type=options.NEW_FILE, help="JSON lines."
)
@click.option(
    "--resplit",
    is_flag=True,
    help="Split into train and dev as ORQA does, by a hash of the question.",
)
@click.option("--split", help="Name of the split of all questions.")
@options.json_option()
@options.shared_options
def questions(
    sources: tuple[pathlib.Path, ...],
    output: pathlib.Path,
    resplit: bool,
    split: str | None,
    as_json: bool,
) -> None:
    """Reads NQ-open, WebQuestions, CuratedTrec, TriviaQA, SQuAD, DPR and BEIR.

    Shows the number of questions beside the published sizes of the sets. BEIR
    sets are folders; `realm-tf corpus` reads their corpus.jsonl.
    """
    prepare_tensorflow()
    from realm_tf.data.questions import question_sets

    if resplit and split:
        raise click.UsageError("--resplit and --split exclude each other.")
    left_out: collections.Counter[str] = collections.Counter()
    found = [
        question
        for source in sources
        for question in question_sets.read_question_set(source, left_out)
    ]
    if resplit:
        found = question_sets.resplit(found)
    if split:
        found = [dataclasses.replace(q, split=split) for q in found]
    question_sets.write_questions(found, output)
    splits = collections.Counter(str(q.split) for q in found)
    facts = {
        "output": str(output),
        "num_questions": len(found),
        "left_out": dict(left_out),
        "splits": dict(splits),
        "matches": question_sets.published_matches(splits),
        "published": {
            name: list(sizes)
            for name, sizes in question_sets.PUBLISHED_SIZES.items()
        },
    }
    show_facts(facts, as_json)
