"""How far down a ranking the answer, or the right document, is found.

Ranks count from 1; None means that nothing was found.
"""

import functools
import re
import sys
import unicodedata
from collections.abc import Collection, Iterable, Sequence

Rank = int | None

_ASCII_TOKEN = re.compile(r"\w+|\S")
# Han, kana, Thai, Lao, Myanmar and Khmer.
_NO_SPACES = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"
)


def contains_answer(text: str, answers: Iterable[str]) -> bool:
    """Tells whether a text holds one of the answers, as DPR's `has_answer`.

    Text and answers are brought to NFD and cut into tokens: each run of
    letters, marks and digits, and every other sign by itself. Case does not
    count. The tokens of an answer must follow one another: "US" is not in
    "USA", "Austen" is in "Austen's", "1939" in "1939–45". Articles are tokens
    like others. An empty answer is in no text.

    In one thing this is not DPR's rule: each character of a script without
    spaces, such as Chinese, Japanese or Thai, is a token. DPR takes a whole
    run of them for one word, so that hardly an answer is ever found.

    Args:
        text: str. A block.
        answers: iterable of str. Spellings of the answer.

    Returns:
        bool. Whether one of them is in the text.

    Example:
    >>> contains_answer("Jane Austen's novel", ["jane austen"])
    True

    Source: Karpukhin et al., 2020; facebookresearch/DPR,
    `dpr/data/qa_validation.py` and `dpr/utils/tokenizers.py`
    (`SimpleTokenizer`).
    """
    tokens = _tokens(text)
    found = map(_tokens, answers)
    return any(answer.strip() and answer in tokens for answer in found)


def _tokens(text: str) -> str:
    """The tokens of a text, each between spaces."""
    text = unicodedata.normalize("NFD", text)
    if not text.isprintable():  # separators and control characters
        text = "".join(sign if sign.isprintable() else " " for sign in text)
    text = text.replace("_", " _ ")
    token = _ASCII_TOKEN
    if not text.isascii():
        text = _NO_SPACES.sub(r" \g<0> ", text)
        token = _unicode_token()
    return f" {' '.join(token.findall(text)).lower()} "


@functools.cache
def _unicode_token() -> re.Pattern[str]:
    """As `_ASCII_TOKEN`, where accents and other marks go with their letter."""
    marks = (
        sign
        for sign in map(chr, range(0x300, sys.maxunicode + 1))
        if unicodedata.category(sign).startswith("M")
    )
    return re.compile(rf"[\w{''.join(marks)}]+|\S")


def first_rank(hits: Iterable[bool]) -> Rank:
    """Rank of the first hit in a ranking; None if there is none."""
    return next((rank for rank, hit in enumerate(hits, start=1) if hit), None)


def recall_at_k(ranks: Sequence[Rank], ks: Iterable[int]) -> dict[int, float]:
    """Share of questions whose first hit is among the first k.

    Args:
        ranks: sequence of int or None. Rank of each question's first hit.
        ks: iterable of int. The cut-offs, each at least 1.

    Returns:
        dict from k to a share between 0 and 1.

    Raises:
        ValueError: if there are no questions, or a k is below 1.

    Example:
    >>> recall_at_k([1, None, 3, 2], ks=[1, 3])
    {1: 0.25, 3: 0.75}
    """
    _check_questions(ranks)
    ks = list(ks)
    if min(ks, default=1) < 1:
        raise ValueError(f"`ks` must be at least 1. Received: ks={ks}.")
    found = [rank for rank in ranks if rank is not None]
    return {k: sum(rank <= k for rank in found) / len(ranks) for k in ks}


def mean_reciprocal_rank(ranks: Sequence[Rank]) -> float:
    """Mean of 1 / rank over the questions; 0 where nothing was found.

    Args:
        ranks: sequence of int or None. Rank of each question's first hit.

    Returns:
        float between 0 and 1.

    Raises:
        ValueError: if there are no questions.

    Example:
    >>> mean_reciprocal_rank([1, None, 4, 2])  # (1 + 0 + 1/4 + 1/2) / 4
    0.4375
    """
    _check_questions(ranks)
    return sum(1 / rank for rank in ranks if rank is not None) / len(ranks)


def answer_recall_at_k(
    retrieved: Sequence[Sequence[str]],
    answers: Sequence[Collection[str]],
    ks: Iterable[int],
) -> dict[int, float]:
    """Share of questions with an answer in the text of the first k blocks.

    Args:
        retrieved: for each question, the texts of its blocks, best first.
        answers: for each question, the spellings of its answer.
        ks: iterable of int. The cut-offs.

    Returns:
        dict from k to a share between 0 and 1.

    Raises:
        ValueError: if there are no questions, if `retrieved` and `answers`
            differ in length, or a k is below 1.
    """
    _check_lengths(retrieved=retrieved, answers=answers)
    ranks = [
        first_rank(contains_answer(text, spellings) for text in texts)
        for texts, spellings in zip(retrieved, answers, strict=True)
    ]
    return recall_at_k(ranks, ks)


def block_recall_at_k(
    retrieved_ids: Sequence[Sequence[str]],
    gold_ids: Sequence[str],
    ks: Iterable[int],
) -> dict[int, float]:
    """Share of questions with a block of the right document in the first k.

    Args:
        retrieved_ids: for each question, the document ids of its blocks, best
            first.
        gold_ids: for each question, the id of the document that holds the
            answer.
        ks: iterable of int. The cut-offs.

    Returns:
        dict from k to a share between 0 and 1.

    Raises:
        ValueError: if there are no questions, if `retrieved_ids` and
            `gold_ids` differ in length, or a k is below 1.
    """
    _check_lengths(retrieved_ids=retrieved_ids, gold_ids=gold_ids)
    ranks = [
        first_rank(document_id == gold for document_id in document_ids)
        for document_ids, gold in zip(retrieved_ids, gold_ids, strict=True)
    ]
    return recall_at_k(ranks, ks)


def _check_questions(ranks: Sequence[Rank]) -> None:
    if not ranks:
        raise ValueError(
            "There must be at least one question. Received: none. A share of "
            "no questions has no value."
        )


def _check_lengths(**sequences: Sequence) -> None:
    lengths = {name: len(values) for name, values in sequences.items()}
    if len(set(lengths.values())) > 1:
        names = " and ".join(f"`{name}`" for name in lengths)
        raise ValueError(
            f"{names} must have one entry for each question. Received: "
            + ", ".join(f"len({name})={n}" for name, n in lengths.items())
            + "."
        )
