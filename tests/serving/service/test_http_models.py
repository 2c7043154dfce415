import pydantic
import pytest

from realm_tf.errors import BadRequestError, TooLargeError
from realm_tf.options import ServiceOptions
from realm_tf.serving.service import http_models
from realm_tf.serving.service.http_models import (
    AskRequest,
    DocumentsRequest,
    IndexRequest,
    SearchRequest,
)

OPTIONS = ServiceOptions(max_questions=2, max_question_bytes=10)


def test_one_question_or_several():
    assert AskRequest(question="who?").texts(OPTIONS) == ["who?"]
    assert AskRequest(questions=["a", "b"]).texts(OPTIONS) == ["a", "b"]


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({}, "Received: neither"),
        ({"question": "a", "questions": ["b"]}, "Received: both"),
        ({"question": " ?! "}, "a letter or a digit"),
    ],
)
def test_questions_must_be_some(fields, match):
    with pytest.raises(BadRequestError, match=match):
        SearchRequest(**fields).texts(OPTIONS)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"questions": ["a"] * 3}, "at most 2. Received: 3"),
        ({"question": "ä" * 6}, "10 bytes. Received: 12"),
    ],
)
def test_questions_must_not_be_too_many_or_long(fields, match):
    with pytest.raises(TooLargeError, match=match):
        AskRequest(**fields).texts(OPTIONS)


@pytest.mark.parametrize("top_k", [0, -1, "5", 2.5, float("nan"), True])
def test_top_k_must_be_a_count(top_k):
    for kind in (AskRequest, SearchRequest):
        with pytest.raises(pydantic.ValidationError, match="top_k"):
            kind(question="who?", top_k=top_k)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, "0.5", float("nan")])
def test_threshold_must_be_a_probability(threshold):
    with pytest.raises(pydantic.ValidationError, match="threshold"):
        AskRequest(question="who?", threshold=threshold)


def test_threshold_defaults_to_that_of_the_model():
    assert AskRequest(question="who?").threshold is None
    assert AskRequest(question="who?", threshold=None).threshold is None


@pytest.mark.parametrize("alternatives", [-1, 21, None])
def test_alternatives_must_be_a_count(alternatives):
    with pytest.raises(pydantic.ValidationError, match="alternatives"):
        AskRequest(question="who?", alternatives=alternatives)


@pytest.mark.parametrize(
    "documents",
    [
        [],
        [{"id": "", "text": "a"}],
        [{"id": "1", "text": ""}],
        [{"id": 1, "text": "a"}],
        [{"id": "1", "text": "a", "author": "b"}],
    ],
)
def test_documents_need_an_id_and_a_text(documents):
    with pytest.raises(pydantic.ValidationError, match="documents"):
        DocumentsRequest(documents=documents)


def test_lists_are_read_up_to_the_first_bad_item():
    """An error for each of many items would fill the memory."""
    lists = [
        (model, name)
        for model in vars(http_models).values()
        if isinstance(model, type) and issubclass(model, http_models._Strict)
        for name, field in model.model_fields.items()
        if "list[" in str(field.annotation)
    ]
    assert {name for _, name in lists} == {"questions", "documents"}
    for model, name in lists:
        with pytest.raises(pydantic.ValidationError) as caught:
            model.model_validate({name: [1] * 1000})
        assert caught.value.error_count() == 1


def test_versions_count_from_one():
    with pytest.raises(pydantic.ValidationError, match="roll_back_to"):
        IndexRequest(roll_back_to=0)
