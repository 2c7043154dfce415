"""Answers that are the same but for rounding."""

import dataclasses

import numpy as np

TOLERANCE = 1e-5
PROBABILITIES = (
    "probability",
    "retrieval_probability",
    "reading_probability",
    "block_probabilities",
    "block_scores",
    "lexical_scores",
)


def assert_alike(got, want):
    """The same answers, with probabilities within 1e-5."""
    assert len(got) == len(want)
    for ours, theirs in zip(got, want, strict=True):
        _assert_span(ours, theirs)
        alternatives = zip(ours.alternatives, theirs.alternatives, strict=True)
        for one, other in alternatives:
            _assert_span(one, other)
        assert _without_numbers(ours) == _without_numbers(theirs)


def assert_outputs_alike(got, want):
    """The same outputs of a signature, with floats within 1e-5."""
    assert set(got) == set(want)
    for name, value in want.items():
        value, other = np.asarray(value), np.asarray(got[name])
        if value.dtype.kind == "f":
            np.testing.assert_allclose(other, value, atol=TOLERANCE)
        else:
            np.testing.assert_array_equal(other, value)


def _assert_span(ours, theirs):
    for name in PROBABILITIES:
        np.testing.assert_allclose(
            getattr(ours, name, 0.0),
            getattr(theirs, name, 0.0),
            rtol=0,
            atol=TOLERANCE,
            err_msg=name,
        )
    assert (ours.text, ours.block, ours.start, ours.end) == (
        theirs.text,
        theirs.block,
        theirs.start,
        theirs.end,
    )


def _without_numbers(answer):
    nothing = dict.fromkeys(PROBABILITIES, 0.0)
    return dataclasses.replace(answer, alternatives=(), **nothing)
