import numpy as np
import pytest

from realm_tf.data.text.packing import pack_pairs, pack_singles


def check(features, expected):
    for name, value in features.items():
        assert value.dtype == np.int32
        np.testing.assert_array_equal(value, expected[name].numpy())


def ids(featurizer, texts):
    tokens = featurizer.tokenize(texts)
    return [tokens.row(i)[0] for i in range(len(texts))]


def test_rows_are_those_of_the_featurizer(short_featurizer):
    titles = ["city", "", "the year of the city"]
    texts = ["It was founded in 1815.", "", "many people live there. " * 20]
    check(
        pack_pairs(
            list(
                zip(
                    ids(short_featurizer, titles),
                    ids(short_featurizer, texts),
                    strict=True,
                )
            ),
            short_featurizer.block_length,
            short_featurizer,
        ),
        short_featurizer.blocks(titles, texts),
    )
    check(
        pack_singles(
            ids(short_featurizer, texts),
            short_featurizer.query_length,
            short_featurizer,
        ),
        short_featurizer.questions(texts),
    )


def test_null_block_is_three_special_tokens(featurizer):
    nothing = np.zeros(0, np.int32)
    row = pack_pairs([(nothing, nothing)], 5, featurizer)
    cls, sep = featurizer.cls_id, featurizer.sep_id
    assert row["token_ids"].tolist() == [[cls, sep, sep, 0, 0]]
    assert row["segment_ids"].tolist() == [[0, 0, 1, 0, 0]]
    assert row["padding_mask"].tolist() == [[1, 1, 1, 0, 0]]


@pytest.mark.parametrize("length", [6, 7, 20])
def test_second_part_is_cut(featurizer, length):
    first, second = np.arange(10, 13), np.arange(20, 30)
    row = pack_pairs([(first, second)], length, featurizer)
    used = int(row["padding_mask"].sum())
    assert used == min(length, 16)
    assert row["token_ids"][0, used - 1] == featurizer.sep_id
    assert row["token_ids"][0, 5 : used - 1].tolist() == list(
        second[: used - 6]
    )
