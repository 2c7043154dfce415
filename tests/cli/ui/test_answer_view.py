import dataclasses
import io

import numpy as np
import pytest
import rich.console

from realm_tf.cli.ui.answer_view import answer_text
from realm_tf.data.corpus.answer import Answer, Evidence, Span
from realm_tf.data.corpus.blocks import Block

TEXT = "Zoë said that Emma is by Jane Austen."
BLOCKS = (
    Block(TEXT, title="Emma", document_id="doc-1", block_id=3),
    Block("Bath is a town.", document_id="doc-2", block_id=8),
)


def make_span(text, probability):
    start = TEXT.index(text)
    byte_start = len(TEXT[:start].encode())
    return Span(
        text=text,
        block=BLOCKS[0],
        start=start,
        end=start + len(text),
        byte_start=byte_start,
        byte_end=byte_start + len(text.encode()),
        retrieval_probability=0.9,
        reading_probability=0.8,
        probability=probability,
    )


@pytest.fixture
def answer():
    evidence = Evidence("Who wrote Emma?", BLOCKS, np.log([0.9, 0.1]), False)
    spans = [make_span("Jane Austen", 0.75), make_span("Austen", 0.05)]
    return Answer.of(evidence, spans, threshold=0.0)


def shown(answer, **options):
    file = io.StringIO()
    console = rich.console.Console(file=file, width=80, **options)
    console.print(answer_text(answer))
    return file.getvalue()


def test_text_shows_answer_evidence_and_probabilities(answer):
    text = shown(answer)
    assert "Jane Austen  75%" in text
    assert "retrieval 0.90, reading 0.80" in text
    assert "that Emma is by »Jane Austen«." in text
    assert "─ Emma ─" in text and "doc-1" in text
    assert "5%  Austen" in text
    assert "0.90  ██████████████████··  Emma" in text
    assert "0.10  ██··················  (no title)" in text


def test_the_answer_is_highlighted_in_colour(answer):
    text = shown(answer, force_terminal=True, color_system="standard")
    assert "\x1b[1;30;42mJane Austen\x1b[0m" in text


def test_an_answer_below_the_threshold_is_called_a_guess(answer):
    text = shown(dataclasses.replace(answer, threshold=0.9))
    assert "No answer reaches 90%. Best guess: Jane Austen" in text


def test_no_block_at_all_is_said():
    evidence = Evidence("Who wrote Emma?", (), np.zeros(0), True)
    text = shown(Answer.none(evidence, 0.0))
    assert "No answer: there was no block to read." in text
    assert "The question was too long and is cut." in text


def test_documents_cannot_command_the_terminal(answer):
    # H9: escapes in every text that comes from outside.
    evil = "\x1b]0;owned\x07\x9b2J\r"
    span = make_span("Jane Austen", 0.75)
    text = evil + TEXT
    block = Block(text, evil + "Emma\nmore", evil + "doc", 3)
    span = dataclasses.replace(
        span,
        block=block,
        start=span.start + len(evil),
        end=span.end + len(evil),
    )
    other = dataclasses.replace(span, text=evil)
    evidence = Evidence(evil + "Who?", (block,), np.zeros(1), False)
    printed = shown(Answer.of(evidence, [span, other], 0.0))
    assert not {"\x1b", "\x07", "\x9b", "\r"} & set(printed)
    assert "»Jane Austen«" in printed
    assert "owned" in printed


def test_text_is_no_markup(answer):
    block = dataclasses.replace(BLOCKS[0], title="[red]Emma[/red] :smile:")
    text = shown(dataclasses.replace(answer, block=block))
    assert "[red]Emma[/red] :smile:" in text
