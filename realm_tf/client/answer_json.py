"""Answers as JSON, for programs and over the wire, and back."""

from typing import Any

from realm_tf.data.corpus.answer import Answer, Span
from realm_tf.data.corpus.blocks import Block

_SPAN_NAMES = (
    "start",
    "end",
    "byte_start",
    "byte_end",
    "probability",
    "retrieval_probability",
    "reading_probability",
)
_BLOCK_NAMES = ("probability", "score", "lexical_score")
_ANSWER_NAMES = ("question", "truncated", "threshold", "index_version")


def answer_json(answer: Answer) -> dict[str, Any]:
    """All of an answer as a JSON object; offsets are characters and bytes."""
    return {
        "question": answer.question,
        "found": answer.found,
        **_span_json(answer),
        "alternatives": [_span_json(span) for span in answer.alternatives],
        "blocks": [
            block_json(block) | dict(zip(_BLOCK_NAMES, numbers, strict=True))
            for block, *numbers in zip(
                answer.blocks,
                answer.block_probabilities,
                answer.block_scores,
                answer.lexical_scores,
                strict=True,
            )
        ],
        "truncated": answer.truncated,
        "threshold": answer.threshold,
        "index_version": answer.index_version,
    }


def answer_from_json(fields: dict[str, Any]) -> Answer:
    """The answer that `answer_json` was given.

    Where the sentences of its blocks start is not in the JSON.

    Raises:
        KeyError: if a field is missing.
    """
    return Answer(
        **_span_fields(fields),
        **{name: fields[name] for name in _ANSWER_NAMES},
        blocks=tuple(map(block_from_json, fields["blocks"])),
        block_probabilities=tuple(b["probability"] for b in fields["blocks"]),
        block_scores=tuple(b["score"] for b in fields["blocks"]),
        lexical_scores=tuple(b["lexical_score"] for b in fields["blocks"]),
        alternatives=tuple(
            Span(**_span_fields(span)) for span in fields["alternatives"]
        ),
    )


def block_json(block: Block) -> dict[str, Any]:
    """A block as a JSON object."""
    return {
        "block_id": block.block_id,
        "document_id": block.document_id,
        "title": block.title,
        "text": block.text,
    }


def block_from_json(fields: dict[str, Any]) -> Block:
    """The block that `block_json` was given, but for its sentences."""
    names = ("block_id", "document_id", "title", "text")
    return Block(**{name: fields[name] for name in names})


def _span_json(span: Span) -> dict[str, Any]:
    return {
        "answer": span.text,
        **{name: getattr(span, name) for name in _SPAN_NAMES},
        "block": block_json(span.block),
    }


def _span_fields(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "text": fields["answer"],
        "block": block_from_json(fields["block"]),
        **{name: fields[name] for name in _SPAN_NAMES},
    }
