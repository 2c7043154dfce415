import numpy as np
import pytest

from realm_tf.data.text.packing import (
    pack_pairs,
    pack_singles,
    trim,
    trim_joint,
)


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


@pytest.mark.parametrize(
    ("used", "bucket", "length"),
    [
        (0, 16, 16),  # never empty
        (1, 16, 16),
        (16, 16, 16),
        (17, 16, 32),
        (33, 16, 40),  # not longer than it was
        (40, 16, 40),
        (5, 4, 8),
        (5, 1, 5),
    ],
)
def test_trim_keeps_a_multiple_of_the_bucket(used, bucket, length):
    mask = np.zeros((2, 3, 40), np.int32)
    mask[1, 0, :used] = 1
    mask[0, 2, : used // 2] = 1
    ids = np.arange(240, dtype=np.int32).reshape(2, 3, 40)
    features = {"joint_token_ids": ids, "joint_padding_mask": mask}
    trimmed = trim(features, bucket)
    assert set(trimmed) == set(features)
    for name, value in features.items():
        np.testing.assert_array_equal(trimmed[name], value[..., :length])


@pytest.mark.parametrize(
    ("used", "max_span_width", "length"),
    [(5, 10, 32), (33, 10, 64), (65, 10, 80), (5, 40, 40), (41, 40, 80)],
)
def test_trim_joint_leaves_room_for_the_widest_span(
    used, max_span_width, length
):
    mask = np.zeros((1, 2, 80), np.int32)
    mask[0, 1, :used] = 1
    features = {"token_ids": 3 * mask, "padding_mask": mask}
    trimmed = trim_joint(features, max_span_width)
    for name, value in features.items():
        np.testing.assert_array_equal(trimmed[name], value[..., :length])
