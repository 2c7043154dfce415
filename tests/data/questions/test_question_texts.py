import numpy as np
import pytest

from realm_tf.data.questions.question_texts import check_questions


def test_questions_are_returned_as_a_list():
    assert check_questions(("a", "b")) == ["a", "b"]
    assert check_questions(np.array(["a"])) == ["a"]
    assert check_questions([]) == []


@pytest.mark.parametrize("text", ["", "  ", "?!", "\N{GRINNING FACE}"])
def test_question_without_letter_and_digit_is_refused(text):
    with pytest.raises(ValueError, match="letter or a digit.*position 1"):
        check_questions(["who?", text])


@pytest.mark.parametrize(
    ("questions", "match"),
    [("who?", "list of texts. Received: str"), ([1], "int at position 0")],
)
def test_what_is_no_list_of_texts_is_refused(questions, match):
    with pytest.raises(TypeError, match=match):
        check_questions(questions)
