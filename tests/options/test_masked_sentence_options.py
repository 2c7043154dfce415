import pytest

from realm_tf.options import MaskedSentenceOptions


@pytest.mark.parametrize(
    "name", ["batch_size", "num_candidates", "query_length", "max_masks"]
)
def test_bad_options_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}=0. Leave it out for "):
        MaskedSentenceOptions(**{name: 0})


@pytest.mark.parametrize(
    ("name", "default"), [("candidates", "search"), ("own_block", "exclude")]
)
def test_other_choices_are_refused(name, default):
    with pytest.raises(
        ValueError, match=f"{name}='other'. Leave it out for '{default}'"
    ):
        MaskedSentenceOptions(**{name: "other"})


@pytest.mark.parametrize(
    ("options", "searches"),
    [
        ({}, True),
        ({"num_candidates": 1}, False),
        ({"candidates": "mentions"}, False),
    ],
)
def test_whether_there_is_anything_to_retrieve(options, searches):
    assert MaskedSentenceOptions(**options).searches is searches
