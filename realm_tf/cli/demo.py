"""realm-tf demo: answers of the finished preset over the bundled corpus."""

import pathlib
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

import realm_tf
from realm_tf.cli.ask import Lines, show_answers
from realm_tf.cli.serve import serve
from realm_tf.cli.ui import console, options
from realm_tf.cli.ui.demo_model import demo_preset
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.model import open_model

if TYPE_CHECKING:
    from realm_tf.data.corpus.answer import Answer
    from realm_tf.data.questions.questions import Question
    from realm_tf.realm_qa import RealmQA

ASKED_NAME = "demo_questions.jsonl"
PASSAGES_NAME = "passages.jsonl.gz"
QUESTIONS_NAME = "questions.jsonl.gz"
_NUM_ASKED = 10


@click.command(
    epilog=options.examples(
        "realm-tf demo",
        'realm-tf demo "Who wrote Animal Farm?"',
        "realm-tf demo --page",
    )
)
@click.argument("questions", nargs=-1)
@click.option(
    "--data",
    type=options.FOLDER,
    help="Folder of the demo's files. Default: demo/data of the repository.",
)
@click.option("--page", is_flag=True, help="Serve a page to ask questions on.")
@click.option(
    "--train",
    is_flag=True,
    help=f"Train a model on {PASSAGES_NAME} and {QUESTIONS_NAME} first, which "
    "takes some minutes, once.",
)
@click.option(
    "--bert",
    type=options.FOLDER,
    help="With --train, start from this BERT. Default: download "
    "all-MiniLM-L6-v2.",
)
@options.dtype_option()
@options.json_option()
@options.shared_options
def demo(
    questions: tuple[str, ...],
    data: pathlib.Path | None,
    page: bool,
    train: bool,
    bert: pathlib.Path | None,
    dtype: str,
    as_json: bool,
) -> None:
    """Answers questions over the beginnings of 32,000 Wikipedia articles.

    Without a question, asks ten, marks the answers as right or wrong, and then
    takes yours. The first run unpacks the corpus into $REALM_TF_CACHE, by
    default ~/.cache/realm_tf.
    """
    if bert is not None and not train:
        raise click.UsageError("--bert goes with --train.")
    if page and (train or questions):
        raise click.UsageError("--page goes without --train and questions.")
    prepare_tensorflow()
    from realm_tf.cli.ui.demo_corpus import open_demo
    from realm_tf.data.questions.questions import read_questions

    folder = data or _bundled_data()
    if train:
        known = read_questions(folder / QUESTIONS_NAME)
        preset = demo_preset(
            folder / PASSAGES_NAME, folder / QUESTIONS_NAME, bert, dtype=dtype
        )
        qa = open_model(preset, None, None, dtype=dtype, verify=False)
        asked = _unseen(known)
    else:
        asked = read_questions(folder / ASKED_NAME)
        qa, unpacked = open_demo(folder, dtype)
        if page:
            _serve(qa, unpacked / "bundle")
            return
    if questions:
        show_answers(qa.predict(questions), as_json)
        return
    answers = qa.predict([question.question for question in asked])
    if as_json:
        show_answers(answers, as_json)
        return
    console.stdout().print(_table(asked, answers))
    if Lines.are_typed():
        for lines in Lines():
            show_answers(qa.predict(lines), as_json)
    else:
        console.print_note('Ask your own: realm-tf demo "your question"')


def _bundled_data() -> pathlib.Path:
    repository = pathlib.Path(realm_tf.__file__).parents[1]
    folder = repository / "demo" / "data"
    if not folder.is_dir():
        raise click.ClickException(
            "The demo needs its corpus, which is in the repository, not in the "
            f"package. Received: no {folder}. Clone the repository and run "
            "`make demo` there, or pass its demo/data with --data."
        )
    return folder


def _unseen(known: list["Question"]) -> list["Question"]:
    """Questions the model was not trained on, from several articles."""
    unseen = [question for question in known if question.split == "test"]
    return unseen[:: max(1, len(unseen) // _NUM_ASKED)][:_NUM_ASKED]


def _table(asked: list["Question"], answers: list["Answer"]) -> Table:
    """Questions and answers, and whether they are right."""
    from realm_tf.evaluation.exact_match import exact_match

    table = Table("", "question", "answer", "p", "article", box=None)
    for question, answer in zip(asked, answers, strict=True):
        given, title = "no answer", ""
        right = not question.answers
        if answer.found:
            given, title = answer.text, answer.block.title
            right = not right and exact_match(given, question.answers)
        table.add_row(
            Text("✓", "green") if right else Text("✗", "red"),
            Text(console.neutralise(question.question)),
            Text(console.neutralise(given), "bold"),
            f"{answer.probability:.0%}",
            Text(console.neutralise(title)),
        )
    return table


def _serve(qa: "RealmQA", bundle: pathlib.Path) -> None:
    """Serves the demo until it is interrupted; exports it the first time."""
    from realm_tf.serving.bundle import BUNDLE_NAME

    # A killed export leaves a folder without this file, which is repeated.
    if not (bundle / BUNDLE_NAME).is_file():
        console.print_note("Exporting the model, once ...")
        qa.export(bundle)
    click.get_current_context().invoke(serve, bundle=bundle)
