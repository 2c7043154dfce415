"""Which texts may be asked."""

from typing import Any

import numpy as np


def check_question(question: Any) -> None:
    """Raises if one question is no text; see `RealmQA.ask`."""
    if not isinstance(question, str):
        raise TypeError(
            "`question` must be a text. Received: "
            f"{type(question).__name__}. Use `predict` for several."
        )


def check_questions(questions: Any) -> list[str]:
    """Returns questions as a list, or raises; see `RealmQA.predict`."""
    if isinstance(questions, np.ndarray):
        questions = questions.tolist()
    if not isinstance(questions, list | tuple):
        raise TypeError(
            "`questions` must be a list of texts. Received: "
            f"{type(questions).__name__}. Use `ask` for a single question."
        )
    for i, question in enumerate(questions):
        if not isinstance(question, str):
            raise TypeError(
                "`questions` must be texts. Received: "
                f"{type(question).__name__} at position {i}."
            )
        if not any(character.isalnum() for character in question):
            raise ValueError(
                "A question must have a letter or a digit. Received: "
                f"{question[:40]!r} at position {i}."
            )
    return list(questions)
