"""realm-tf ask: questions to answers with their evidence."""

import codecs
import itertools
import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from realm_tf.cli.ui import console, options
from realm_tf.cli.ui.answer_view import answer_text
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.model import open_model

if TYPE_CHECKING:
    from realm_tf.data.corpus.answer import Answer

_LINES_AT_ONCE = 32  # of stdin


@click.command(
    epilog=options.examples(
        'realm-tf ask --preset preset "Who wrote Emma?"',
        'realm-tf ask --preset preset --corpus corpus "Who wrote Emma?" --json',
        "realm-tf ask --preset preset --json < questions.txt > answers.jsonl",
    )
)
@click.argument("questions", nargs=-1)
@options.preset_option()
@options.corpus_option(required=False)
@options.index_option()
@options.num_read_option
@click.option(
    "--num-alternatives",
    type=click.IntRange(min=0),
    default=4,
    show_default=True,
    help="Number of alternative answers shown.",
)
@click.option(
    "--threshold",
    type=options.PROBABILITY,
    help="Lowest probability of an answer that is found. Default: that of "
    "the preset's calibration.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="Compare the SHA-256 of every file first.",
)
@options.dtype_option()
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one line of JSON for each question.",
)
@options.shared_options
def ask(
    questions: tuple[str, ...],
    preset: pathlib.Path,
    corpus: pathlib.Path | None,
    index: pathlib.Path | None,
    num_read: int | None,
    num_alternatives: int,
    threshold: float | None,
    verify: bool,
    dtype: str,
    as_json: bool,
) -> None:
    """Answers questions, and shows where the answers were read.

    Without a question, every line of the standard input is a question. Lines
    that are none are named and left out; the exit code is 1 then.
    """
    prepare_tensorflow()
    qa = open_model(preset, corpus, index, dtype=dtype, verify=verify)
    lines = Lines()
    for batch in [questions] if questions else lines:
        answers = qa.predict(
            batch,
            num_read=num_read,
            num_alternatives=num_alternatives,
            threshold=threshold,
        )
        show_answers(answers, as_json)
    if lines.num_left_out:
        raise click.ClickException(
            f"{lines.num_left_out} lines were no questions."
        )


def show_answers(answers: Iterable["Answer"], as_json: bool) -> None:
    """Prints answers for people, or each as a line of JSON."""
    from realm_tf.client.answer_json import answer_json

    for answer in answers:
        if as_json:
            console.print_json(answer_json(answer))
        else:
            console.stdout().print(answer_text(answer))


class Lines:
    """The questions of stdin, without the lines that are none.

    A line that is not UTF-8 or has no letter and no digit is named and left
    out. Lines are taken some at once, unless they are typed.
    """

    def __init__(self) -> None:
        self.num_left_out = 0

    @staticmethod
    def are_typed() -> bool:
        """Whether somebody types them."""
        return sys.stdin.isatty()

    def __iter__(self) -> Iterator[Sequence[str]]:
        typed = self.are_typed()
        if typed:
            console.print_note("Type a question and press Enter. Ctrl-D ends.")
        questions = self._questions()
        while batch := list(
            itertools.islice(questions, 1 if typed else _LINES_AT_ONCE)
        ):
            yield batch

    def _questions(self) -> Iterator[str]:
        from realm_tf.data.questions.question_texts import check_questions

        for number, line in enumerate(sys.stdin.buffer, 1):
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            try:
                question = line.decode().strip()
                if not question:
                    continue
                check_questions([question])
            except UnicodeDecodeError:
                problem = "It is not UTF-8. Convert the file with iconv."
            except ValueError:
                problem = "A question must have a letter or a digit."
            else:
                yield question
                continue
            self.num_left_out += 1
            console.print_note(f"Line {number} is left out. {problem}")
