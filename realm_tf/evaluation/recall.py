"""How far down a ranking the answer, or the right document, is found.

Ranks count from 1; None means that nothing was found.
"""

from collections.abc import Collection, Iterable, Sequence

from realm_tf.data.text.answer_normalization import normalize_answer

Rank = int | None


def contains_answer(text: str, answers: Iterable[str]) -> bool:
    """Tells whether a text holds one of the answers, word for word.

    Text and answers are normalised as in `normalize_answer`, and an answer
    must fill whole words: "US" is not in "USA". Answers without words are in
    no text. This is the rule behind `answer_recall_at_k`, here and in the
    literature since DPR.

    Args:
        text: str. A block.
        answers: iterable of str. Spellings of the answer.

    Returns:
        bool. Whether one of them is in the text.

    Example:
    >>> contains_answer("Emma, by Jane Austen.", ["the jane austen"])
    True
    """
    words = f" {normalize_answer(text)} "
    normalized = map(normalize_answer, answers)
    return any(f" {answer} " in words for answer in normalized if answer)


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
