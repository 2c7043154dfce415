import logging
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_tf.evaluation import regex_answers
from realm_tf.evaluation.regex_answers import RegexOutcome, match_regexes

FLAGS = re.IGNORECASE | re.UNICODE | re.MULTILINE


def outcome(pattern, text, **kwargs):
    return match_regexes([pattern], text, **kwargs)[0]


@pytest.fixture
def no_child(monkeypatch):
    def _fail(*args, **kwargs):
        raise AssertionError("a child process was started")

    monkeypatch.setattr(regex_answers.subprocess, "run", _fail)


def test_match_begins_at_the_start_and_ends_anywhere(no_child):
    del no_child
    assert outcome("july", "July 1969") is RegexOutcome.MATCH
    assert outcome("1969", "July 1969") is RegexOutcome.NO_MATCH


def test_anywhere_finds_a_match_inside(no_child):
    del no_child
    assert outcome("1969", "July 1969", anywhere=True) is RegexOutcome.MATCH
    assert outcome("1970", "July 1969", anywhere=True) is RegexOutcome.NO_MATCH


def test_anywhere_takes_other_scripts_without_a_child(no_child):
    del no_child
    assert outcome("19(69|70)", "日本 1970", anywhere=True).value == "match"


def test_every_pattern_has_its_outcome():
    assert match_regexes(["x", "(bad", "P"], "paris") == [
        RegexOutcome.NO_MATCH,
        RegexOutcome.INVALID,
        RegexOutcome.MATCH,
    ]


@pytest.mark.parametrize(
    "pattern, text, is_match",
    [
        (r"(?=.*59)\d+", "1959", True),  # lookahead
        (r"(?<!x)a", "ab", True),  # lookbehind
        (r"(\w)\1", "aab", True),  # back reference
        (r"(\w)\1", "aba", False),
        (r"a{,2}b", "aab", True),  # RE2 takes {,2} for text
        (r"[[:alpha:]]x", "b]x", False),  # RE2 takes it for all letters
        (r"[[:alpha:]]x", "bx", False),
        (r"(?-m:a$)", "a\n", True),
        (r"a++b", "aab", True),  # possessive
        (r"(?x) a b", "ab", True),
        (r"\w+$", "été", True),  # \w beyond ASCII
        ("beyoncé", "BEYONCÉ", True),
        (r"a\sb", "a\u2003b", True),
    ],
)
def test_patterns_that_re2_reads_otherwise_mean_what_python_means(
    pattern, text, is_match
):
    assert (outcome(pattern, text) is RegexOutcome.MATCH) == is_match


def test_exploding_pattern_takes_linear_time_in_re2(no_child):
    del no_child
    start = time.monotonic()
    assert outcome("(a+)+$", "a" * 5000 + "!") is RegexOutcome.NO_MATCH
    assert time.monotonic() - start < 2.0


def test_exploding_pattern_outside_re2_times_out(monkeypatch, caplog):
    monkeypatch.setattr(regex_answers, "TIME_LIMIT", 0.5)
    with caplog.at_level(logging.WARNING):
        result = outcome("(?=a)(a+)+$", "a" * 60 + "!")
    assert result is RegexOutcome.TIMED_OUT
    assert "counts as no match: timed out" in caplog.text


def test_pattern_that_compiles_for_long_times_out(monkeypatch):
    monkeypatch.setattr(regex_answers, "TIME_LIMIT", 1.0)
    monkeypatch.setattr(regex_answers, "_is_valid", None)  # is not asked
    pattern = r"[\x01-\U0010fffe]" * 5_000  # 7 ms each
    assert outcome(pattern, "a") is RegexOutcome.TIMED_OUT


@pytest.mark.parametrize("pattern", [r"(\u00e9", "é(", "a" * 5_000 + "("])
def test_invalid_patterns_are_found_in_the_child(pattern):
    assert outcome(pattern, "é") is RegexOutcome.INVALID


@pytest.mark.parametrize(
    "pattern",
    ["*", "(x", "(?P<n>x", r"\Q", "(?a)x", "(" * 5000 + ")" * 5000],
)
def test_invalid_pattern_is_reported(caplog, pattern):
    with caplog.at_level(logging.WARNING):
        assert outcome(pattern, "x") is RegexOutcome.INVALID
    assert "counts as no match: invalid" in caplog.text


def test_failing_child_is_an_error_not_a_wrong_answer(monkeypatch):
    monkeypatch.setattr(regex_answers, "_CHILD", "raise MemoryError('full')")
    with pytest.raises(RuntimeError, match=r"exited with code 1: .*full"):
        outcome(r"(\w)\1", "aa")


@given(
    st.text("ab1.*+?|()[]^$\\dwsbDWS{},2- \n:", max_size=12),
    st.text("aAb12 .-]{}\n", max_size=8),
)
def test_re2_decides_as_python(pattern, text):
    if regex_answers._is_valid(pattern):
        linear = regex_answers._compile_re2(pattern)
        if linear is not None:
            is_match = re.match(pattern, text, FLAGS) is not None
            assert (linear.match(text) is not None) == is_match
