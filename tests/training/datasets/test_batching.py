import numpy as np
import pytest

from realm_tf.training.datasets.batching import length_batches


def batches_of(lengths, batch_size, seed=0):
    rng = np.random.default_rng(seed)
    return length_batches(np.asarray(lengths), batch_size, rng)


@pytest.mark.parametrize(
    ("num_rows", "batch_size", "num_batches"),
    # 32 batches are sorted together; what is left of each group is left out.
    [(10, 3, 3), (96, 3, 32), (100, 3, 33), (2, 3, 0), (64, 1, 64)],
)
def test_every_batch_is_full_and_no_row_comes_twice(
    num_rows, batch_size, num_batches
):
    batches = batches_of(np.arange(num_rows), batch_size)
    assert [len(batch) for batch in batches] == [batch_size] * num_batches
    rows = np.concatenate([np.zeros(0, int), *batches])
    assert len(set(rows.tolist())) == num_batches * batch_size
    assert set(rows.tolist()) <= set(range(num_rows))


def test_rows_of_a_batch_have_similar_lengths():
    lengths = np.random.default_rng(1).permutation(np.repeat([5, 50], 16))
    for batch in batches_of(lengths, 4):
        assert len(set(lengths[batch].tolist())) == 1


def test_order_is_decided_by_the_seed():
    lengths = np.arange(20)
    first, same = batches_of(lengths, 4), batches_of(lengths, 4)
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, batches_of(lengths, 4, seed=1))


def test_another_order_leaves_out_other_rows():
    rng = np.random.default_rng(0)
    left_out = set()
    for _ in range(50):
        batches = length_batches(np.arange(5), 2, rng)
        left_out |= set(range(5)) - set(np.concatenate(batches).tolist())
    assert left_out == set(range(5))


def test_what_is_left_over_can_be_a_last_batch():
    rng = np.random.default_rng(0)
    batches = length_batches(np.arange(10), 4, rng, drop_remainder=False)
    assert sorted(len(batch) for batch in batches) == [2, 4, 4]
    assert sorted(np.concatenate(batches).tolist()) == list(range(10))
