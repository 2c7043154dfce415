"""Span logits of the blocks that were read to the answers they spell."""

import numpy as np

from realm_tf.data.corpus.answer import Evidence, Span
from realm_tf.data.text.answer_normalization import NUM_MERGED_SPANS, merge_key
from realm_tf.layers.spans import NO_SPAN_LOGIT, span_positions


def select_answers(
    evidence: Evidence,
    span_logits: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    *,
    max_span_width: int,
    num_answers: int,
) -> list[Span]:
    """The most probable distinct answers of one question.

    p(y, z | x) is one softmax over all spans of all blocks that were read, of
    the span logit plus the retrieval logit of its block (Lee et al., 2019).
    Spans that spell the same answer are summed. Ties go to the better block,
    then to the shorter span, then to the leftmost. Exported graphs do the same
    (`realm_tf.engine.answer_selection`).

    Args:
        evidence: `Evidence`; its first `num_read` blocks were read.
        span_logits: float `(num_read, num_spans)`, without retrieval logits;
            -1e9 for what is no span of the block.
        starts: int `(num_read, joint_length)`, bytes, of `Featurizer.joint`.
        ends: int `(num_read, joint_length)`, bytes.
        max_span_width: of the reader, in wordpieces.
        num_answers: how many to return at most.

    Returns:
        list of `Span`, most probable first.
    """
    num_read, num_spans = span_logits.shape
    logits = evidence.retrieval_logits[:num_read, None] + span_logits
    log_probs = logits.ravel() - _logsumexp(logits.ravel())
    order = np.argsort(-log_probs, kind="stable")[:NUM_MERGED_SPANS]
    order = order[span_logits.ravel()[order] > NO_SPAN_LOGIT]
    first, last = span_positions(starts.shape[-1], max_span_width)
    encoded = [
        block.text.encode("utf-8", "replace")
        for block in evidence.blocks[:num_read]
    ]
    best: dict[str, tuple[int, int]] = {}  # block and span
    totals: dict[str, float] = {}
    for place in order.tolist():
        z, span = divmod(place, num_spans)
        raw = encoded[z][starts[z, first[span]] : ends[z, last[span]]]
        text = raw.decode("utf-8", "replace")
        key = merge_key(text)
        best.setdefault(key, (z, span))
        totals[key] = totals.get(key, 0.0) + float(np.exp(log_probs[place]))
    ranked = sorted(totals, key=totals.__getitem__, reverse=True)[:num_answers]
    spans = []
    for key in ranked:
        z, span = best[key]
        reading = span_logits[z, span] - _logsumexp(span_logits[z])
        spans.append(
            Span.cut(
                evidence.blocks[z],
                int(starts[z, first[span]]),
                int(ends[z, last[span]]),
                retrieval_probability=float(evidence.probabilities[z]),
                reading_probability=float(np.exp(reading)),
                probability=min(totals[key], 1.0),
            )
        )
    return spans


def _logsumexp(x: np.ndarray) -> np.floating:
    most = x.max()
    return most + np.log(np.exp(x - most).sum())
