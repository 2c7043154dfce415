import dataclasses

import pytest

from realm_tf.options import ScannOptions


def test_resolve_chooses_leaves_from_the_number_of_blocks():
    options = ScannOptions().resolve(1_000_000)
    assert (options.num_leaves, options.leaves_to_search) == (1000, 200)
    options = ScannOptions().resolve(16)
    assert (options.num_leaves, options.leaves_to_search) == (4, 1)


def test_resolve_keeps_what_was_given():
    given = ScannOptions(num_leaves=7, leaves_to_search=3)
    assert given.resolve(100) == given


@pytest.mark.parametrize("num_blocks", [0, 1, 2, 15])
def test_i19_too_few_blocks_are_refused(num_blocks):
    with pytest.raises(ValueError, match=f"16 blocks.*={num_blocks}.*brute"):
        ScannOptions().resolve(num_blocks)


def test_i19_fewer_blocks_than_leaves_are_refused():
    with pytest.raises(ValueError, match="num_leaves=21, num_blocks=20"):
        ScannOptions(num_leaves=21).resolve(20)


def test_more_leaves_to_search_than_leaves_are_refused():
    with pytest.raises(ValueError, match="leaves_to_search=9, num_leaves=8"):
        ScannOptions(num_leaves=8, leaves_to_search=9).resolve(20)


@pytest.mark.parametrize("value", [0, -1, 2.5, "5", True])
@pytest.mark.parametrize(
    "name",
    [
        field.name
        for field in dataclasses.fields(ScannOptions)
        if field.name != "anisotropic_threshold"
    ],
)
def test_counts_must_be_positive_integers(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be an integer"):
        ScannOptions(**{name: value})


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_anisotropic_threshold_must_be_a_cosine(value):
    with pytest.raises(ValueError, match="`anisotropic_threshold` must be"):
        ScannOptions(anisotropic_threshold=value)
