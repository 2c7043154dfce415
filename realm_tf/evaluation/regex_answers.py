"""Answers that are regular expressions, matched in bounded time."""

import enum
import functools
import json
import logging
import re
import subprocess
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import re2

logger = logging.getLogger(__name__)

# Seconds for one pattern on one text, the start of the child included.
TIME_LIMIT = 5.0
_FLAGS = re.IGNORECASE | re.UNICODE | re.MULTILINE
# RE2's \w, \d, \s, \b and white space know ASCII only.
_SAME_TO_BOTH = re.compile(r"[\t\n\r -~]*")
# Python looks at each character of a range, 7 ms for one of all. Patterns that
# are longer, or may have such ranges, are compiled in the child process.
_MAX_PATTERN = 4096
_WIDE = re.compile(r"\\[xuUN]")
# Read as something else by RE2: {,n}, POSIX classes, octal escapes, \B in an
# empty text, and a `$` that is no longer multiline.
_OTHER_IN_RE2 = re.compile(r"\{,|\[:\^?\w+:|\\[\dB]|\(\?\w*-")
_CHILD = """
import json, re, sys
pattern, text, flags, anywhere = json.load(sys.stdin)
try:
    compiled = re.compile(pattern, flags)
except (re.error, ValueError, RecursionError, OverflowError):
    sys.exit(print("invalid"))
found = compiled.search(text) if anywhere else compiled.match(text)
print("no match" if found is None else "match")
"""


class RegexOutcome(enum.Enum):
    """What became of a pattern on a text; only `MATCH` counts as right."""

    MATCH = "match"
    NO_MATCH = "no match"
    INVALID = "invalid"
    TIMED_OUT = "timed out"


def match_regexes(
    patterns: Sequence[str], text: str, *, anywhere: bool = False
) -> list[RegexOutcome]:
    r"""Matches each pattern against a text and logs the faulty ones.

    As in the official evaluation, case is ignored, `^` and `$` stand for
    borders of lines, and a match begins where the text begins but may end
    anywhere: "july" matches "July 1969", "1969" does not.

    Patterns run in RE2, which needs time linear in the text. Those that RE2
    refuses (lookaround, back references) or would read differently run in
    Python's `re`, in a child process with `TIME_LIMIT` seconds, and so do long
    ones and those with other characters than ASCII, which may take long to
    compile.

    Args:
        patterns: sequence of str. Python regular expressions.
        text: str. A predicted answer, or a block.
        anywhere: bool. Look for a match anywhere in `text`, as is meant for
            blocks. RE2 then takes any text, and `\w`, `\d`, `\s` and `\b` know
            ASCII only.

    Returns:
        list of `RegexOutcome`, one for each pattern.

    Source: google-research/language, `orqa/utils/eval_utils.py`.
    """
    outcomes = []
    for pattern in patterns:
        outcome = _match(pattern, text, anywhere)
        if outcome in (RegexOutcome.INVALID, RegexOutcome.TIMED_OUT):
            logger.warning(
                "Answer pattern %r counts as no match: %s.",
                pattern,
                outcome.value,
            )
        outcomes.append(outcome)
    return outcomes


def _match(pattern: str, text: str, anywhere: bool) -> RegexOutcome:
    if not _is_cheap(pattern):
        return _match_in_child(pattern, text, anywhere)
    if not _is_valid(pattern):
        return RegexOutcome.INVALID
    linear = _compile_re2(pattern)
    if linear is None or not (anywhere or _SAME_TO_BOTH.fullmatch(text)):
        return _match_in_child(pattern, text, anywhere)
    found = linear.search(text) if anywhere else linear.match(text)
    return RegexOutcome.NO_MATCH if found is None else RegexOutcome.MATCH


def _is_cheap(pattern: str) -> bool:
    """Whether a pattern is compiled in no time."""
    return (
        len(pattern) <= _MAX_PATTERN
        and _SAME_TO_BOTH.fullmatch(pattern) is not None
        and _WIDE.search(pattern) is None
    )


@functools.lru_cache(maxsize=4096)
def _is_valid(pattern: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            re.compile(pattern, _FLAGS)
        except (re.error, ValueError, RecursionError, OverflowError):
            return False
    return True


@functools.lru_cache(maxsize=4096)
def _compile_re2(pattern: str) -> Any:
    if not _SAME_TO_BOTH.fullmatch(pattern) or _OTHER_IN_RE2.search(pattern):
        return None
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile("(?im)" + pattern, options)
    except re2.error:
        return None


def _match_in_child(pattern: str, text: str, anywhere: bool) -> RegexOutcome:
    task = json.dumps([pattern, text, int(_FLAGS), anywhere])
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-S", "-W", "ignore", "-c", _CHILD],
            input=task,
            capture_output=True,
            encoding="ascii",
            timeout=TIME_LIMIT,
        )
    except subprocess.TimeoutExpired:
        return RegexOutcome.TIMED_OUT
    if child.returncode:
        raise RuntimeError(
            f"The process that matches the answer pattern {pattern!r} exited "
            f"with code {child.returncode}: {child.stderr.strip()[-500:]!r}. "
            "Correct the pattern, or remove it."
        )
    return RegexOutcome(child.stdout.strip())
