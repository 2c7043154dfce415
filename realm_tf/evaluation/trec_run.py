"""Runs: what systems retrieved, in TREC's format."""

import math
import os
from collections.abc import Mapping

from realm_tf.data.corpus.decompressed_file import DecompressedFile
from realm_tf.errors import BadRecordError

Run = dict[str, dict[str, float]]
"""Query id -> document id -> score. As in trec_eval, the scores make the
ranking; documents of equal score are in descending order of their ids."""


def read_run(path: str | os.PathLike[str]) -> Run:
    """Reads a run of any system.

    Args:
        path: lines of query, Q0, document, rank, score and tag between white
            space; plain or compressed. Ranks are not used.

    Raises:
        BadRecordError: at a line that is none, or if a query has a document
            twice.
        ValueError: if there is no line.
    """
    run: Run = {}
    with DecompressedFile(path) as file:
        for number, line in file.lines():
            fields = line.decode("utf-8", "replace").split()
            if not fields:
                continue
            score = _score(fields)
            if score is None or fields[2] in run.get(fields[0], ()):
                raise BadRecordError(
                    os.fspath(path),
                    number,
                    "A line of a run must be query, Q0, document, rank, score "
                    "and tag, with each document once for a query. Received: "
                    f"{' '.join(fields)[:200]!r}.",
                    "Correct the line.",
                )
            run.setdefault(fields[0], {})[fields[2]] = score
    if not run:
        raise ValueError(
            f"A run must have at least one line. Received: {path} with none."
        )
    return run


def _score(fields: list[str]) -> float | None:
    try:
        _, _, _, _, score, _ = fields
        number = float(score)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def write_run(
    run: Mapping[str, Mapping[str, float]],
    path: str | os.PathLike[str],
    tag: str = "realm_tf",
) -> None:
    """Writes a run in TREC's format, for `read_run`, trec_eval and others.

    Args:
        run: query id -> document id -> score.
        path: the new file.
        tag: name of the system.

    Raises:
        ValueError: if an id or the tag is empty or has white space.
    """
    _check_name("tag", tag)
    with open(path, "w", encoding="utf-8") as file:
        for query, scores in run.items():
            _check_name("query id", query)
            best_first = sorted(
                scores.items(), key=lambda item: item[::-1], reverse=True
            )
            for rank, (document, score) in enumerate(best_first, start=1):
                _check_name("document id", document)
                fields = (query, "Q0", document, rank, repr(float(score)), tag)
                file.write(" ".join(map(str, fields)) + "\n")


def _check_name(what: str, name: str) -> None:
    if name.split() != [name]:
        raise ValueError(
            f"The {what} of a run must be a text without white space. "
            f"Received: {name!r}. Name it otherwise."
        )
