"""How the terminal shows an answer."""

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from realm_tf.cli.ui.console import neutralise

if TYPE_CHECKING:
    from realm_tf.data.corpus.answer import Answer
    from realm_tf.data.corpus.blocks import Block

_BAR_WIDTH = 20  # characters
_ANSWER_STYLE = "bold green"
_HIGHLIGHT_STYLE = "bold black on green"
_MARKS = ("»", "«")  # around the answer, for output without colours
_MISSING_TITLE = "(no title)"


def answer_text(answer: "Answer") -> RenderableType:
    """An answer for a terminal, safe whatever the documents hold."""
    parts: list[RenderableType] = [Text(neutralise(answer.question), "bold")]
    if answer.truncated:
        parts.append(Text("The question was too long and is cut.", "yellow"))
    parts.append(Padding(_headline(answer), (1, 0)))
    if answer.text:
        parts.append(_evidence(answer))
    if answer.alternatives:
        parts += [Text("Other answers"), _alternatives(answer)]
    if answer.blocks:
        parts += [Text("Blocks, with p(z|x)"), _blocks(answer)]
    return Group(*parts, "")


def _headline(answer: "Answer") -> Text:
    if not answer.text:
        return Text("No answer: there was no block to read.", "yellow")
    line = Text()
    if not answer.found:
        line.append(f"No answer reaches {answer.threshold:.0%}. ", "yellow")
        line.append("Best guess: ")
    line.append(neutralise(answer.text), _ANSWER_STYLE)
    line.append(f"  {answer.probability:.0%}")
    line.append(
        f"   retrieval {answer.retrieval_probability:.2f}, "
        f"reading {answer.reading_probability:.2f}",
        "dim",
    )
    return line


def _evidence(answer: "Answer") -> RenderableType:
    block = answer.block
    text = Text()
    text.append(neutralise(block.text[: answer.start]))
    text.append(_MARKS[0], "green")
    text.append(neutralise(answer.text), _HIGHLIGHT_STYLE)
    text.append(_MARKS[1], "green")
    text.append(neutralise(block.text[answer.end :]))
    return Panel(
        text,
        title=Text(_title(block)),
        title_align="left",
        subtitle=Text(neutralise(block.document_id), "dim"),
        subtitle_align="right",
    )


def _title(block: "Block") -> str:
    return neutralise(block.title).replace("\n", " ") or _MISSING_TITLE


def _alternatives(answer: "Answer") -> Table:
    table = Table.grid(padding=(0, 2))
    for span in answer.alternatives:
        table.add_row(
            "",
            Text(f"{span.probability:.0%}", justify="right"),
            Text(neutralise(span.text)),
            Text(_title(span.block), "dim"),
        )
    return table


def _blocks(answer: "Answer") -> Table:
    table = Table.grid(padding=(0, 2))
    ranked = zip(answer.blocks, answer.block_probabilities, strict=True)
    for block, probability in ranked:
        bar = "█" * round(probability * _BAR_WIDTH)
        table.add_row(
            "",
            f"{probability:.2f}",
            Text(bar.ljust(_BAR_WIDTH, "·"), "green"),
            Text(_title(block)),
        )
    return table
