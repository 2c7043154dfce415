"""No regular expression takes more than linear time, whatever the text is.

Each is run on what it nearly matches: the start of a match, then one of its
own signs many times.
"""

import ast
import importlib
import itertools
import pathlib
import re
import time
from re import _constants as kinds
from re import _parser

import pytest

import realm_tf

ROOT = pathlib.Path(realm_tf.__file__).parent
LENGTH = 8_000  # quadratic patterns need over 0.1 s for it
SUSPICIOUS_SECONDS = 0.015
MOST_GROWTH = 9  # of four times the length; 4 is linear, 16 quadratic
CATEGORIES = {
    kinds.CATEGORY_DIGIT: "1",
    kinds.CATEGORY_NOT_DIGIT: "a",
    kinds.CATEGORY_SPACE: " \n\t",
    kinds.CATEGORY_NOT_SPACE: "a",
    kinds.CATEGORY_WORD: "a1",
    kinds.CATEGORY_NOT_WORD: " -",
}
MATCHING = {"match", "fullmatch"}
REPEATS = (kinds.MAX_REPEAT, kinds.MIN_REPEAT, kinds.POSSESSIVE_REPEAT)


def compiled_patterns(value):
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from compiled_patterns(each)


def patterns_of(path):
    """Patterns of a file, each with whether it only looks at the start."""
    source = path.read_text(encoding="utf-8")
    if "import re\n" not in source:
        return
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    module = importlib.import_module(".".join(parts))
    for name, value in vars(module).items():
        uses = set(re.findall(rf"\b{name}\.(\w+)", source))
        for pattern in compiled_patterns(value):
            yield pattern, bool(uses) and uses <= MATCHING
    for node in ast.walk(ast.parse(source)):
        is_call = isinstance(node, ast.Call) and node.args
        if is_call and ast.unparse(node.func).startswith("re."):
            pattern = node.args[0]
            how = node.func.attr
            if isinstance(pattern, ast.Constant) and how != "compile":
                yield re.compile(pattern.value), how in MATCHING


def all_patterns():
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        for pattern, is_match in patterns_of(path):
            found[pattern.pattern, pattern.flags, is_match] = pytest.param(
                pattern, is_match, id=f"{path.stem}-{pattern.pattern!r:.40}"
            )
    return list(found.values())


def signs_of(kind, value):
    """Examples of what a set of characters holds."""
    if kind is kinds.LITERAL:
        return chr(value)
    if kind is kinds.RANGE:
        return chr(value[0])
    if kind is kinds.CATEGORY:
        return CATEGORIES[value]
    return "z"


def signs(tree):
    """One sign at least for each set of characters in a pattern."""
    found = ""
    for kind, value in tree:
        if kind is kinds.IN:
            found += "".join(itertools.starmap(signs_of, value))
        elif kind in (kinds.LITERAL, kinds.NOT_LITERAL, kinds.ANY):
            found += signs_of(kind, value)
        for part in subtrees(kind, value):
            found += signs(part)
    return found


def subtrees(kind, value):
    if kind is kinds.BRANCH:
        return value[1]
    if kind is kinds.SUBPATTERN:
        return [value[3]]
    if kind in REPEATS:
        return [value[2]]
    return [value] if kind is kinds.ATOMIC_GROUP else []


def example(tree, choice):
    """What may match: of alternatives number `choice`, repeats once."""
    text = ""
    for kind, value in tree:
        parts = subtrees(kind, value)
        if kind is kinds.IN:
            text += "".join(itertools.starmap(signs_of, value))[0]
        elif kind in (kinds.LITERAL, kinds.NOT_LITERAL, kinds.ANY):
            text += signs_of(kind, value)
        elif parts:
            part = example(parts[choice % len(parts)], choice)
            text += part * max(1, value[0] if kind in REPEATS else 1)
    return text


def attacks(pattern):
    """Pairs of a start and what is repeated after it."""
    tree = _parser.parse(pattern.pattern, pattern.flags)
    examples = {example(tree, choice) for choice in range(4)}
    starts = {e[:i] for e in examples for i in range(min(len(e), 12) + 1)}
    own = sorted(set(signs(tree)) | set("a \n"))
    repeated = sorted({*own, *examples, *starts} - {""})
    if len(own) < 14:
        repeated += map("".join, itertools.permutations(own, 2))
    return itertools.product(sorted(starts), repeated)


def seconds(pattern, is_match, text):
    start = time.thread_time()
    if is_match:
        pattern.match(text)
        pattern.fullmatch(text)
    else:
        for _ in pattern.finditer(text):
            pass
    return time.thread_time() - start


def is_linear(pattern, is_match, start, repeated):
    def text(length):
        # No pattern ends in the last sign, so that it has to try again.
        whole = start + repeated * (length // len(repeated)) + "\0"
        is_text = isinstance(pattern.pattern, str)
        return whole if is_text else whole.encode("latin-1")

    for length in (LENGTH // 16, LENGTH // 4, LENGTH):
        long = seconds(pattern, is_match, text(length))
        if long > SUSPICIOUS_SECONDS:
            short, long = (
                min(seconds(pattern, is_match, text(n)) for _ in range(3))
                for n in (length // 4, length)
            )
            if long > max(SUSPICIOUS_SECONDS, MOST_GROWTH * short):
                return False
    return True


@pytest.mark.parametrize(("pattern", "is_match"), all_patterns())
def test_time_grows_no_faster_than_the_text(pattern, is_match):
    for start, repeated in attacks(pattern):
        assert is_linear(pattern, is_match, start, repeated), (start, repeated)


@pytest.mark.parametrize(
    "pattern",
    [
        r"\[//[^\s\]]+ ?([^\]\n]*)\]",
        r"\s+$",
        r"[ab]+c",
        r"<!--.*-->",
        r"(?i)x\d+-\d+y|\w+@",
    ],
)
def test_slow_patterns_would_be_found(pattern):
    pattern = re.compile(pattern)
    assert not all(is_linear(pattern, False, *a) for a in attacks(pattern))


def test_patterns_are_found():
    """Those of module level, of lists, and of calls."""
    found = {p.values[0].pattern for p in all_patterns()}
    assert {r"'{2,}", r"\n\s*\n", r"/(kernel|gamma)$"} <= found
    assert len(found) > 40
