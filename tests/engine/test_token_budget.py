import numpy as np
import pytest
import tensorflow as tf

from realm_tf.engine import token_budget
from realm_tf.engine.token_budget import (
    ACCELERATOR_TOKENS,
    CPU_TOKENS,
    default_token_budget,
    has_accelerator,
    in_groups,
)


def run(lengths, budget):
    """Rows of each group, and what came back."""
    groups = []

    def compute(rows):
        groups.append(rows.numpy().tolist())
        return {"row": rows, "pair": tf.stack([rows, rows + 100], 1)}

    specs = {
        "row": tf.TensorSpec([None], tf.int32),
        "pair": tf.TensorSpec([None, 2], tf.int32),
    }
    found = in_groups(
        tf.constant(lengths, tf.int32), compute, specs, token_budget=budget
    )
    return groups, found


def test_long_rows_come_first_and_go_back_to_their_places():
    groups, found = run([3, 9, 4, 9, 1], budget=12)
    # 12 // 9 = 1 row, again; 12 // 4 = 3 rows.
    assert groups == [[1], [3], [2, 0, 4]]
    assert found["row"].numpy().tolist() == [0, 1, 2, 3, 4]
    assert found["pair"][:, 1].numpy().tolist() == [100, 101, 102, 103, 104]


def test_a_row_beyond_the_budget_is_computed_alone():
    assert run([50, 2], budget=4)[0] == [[0], [1]]


@pytest.mark.parametrize("lengths", [[], [0, 0]])
def test_rows_may_be_missing_or_empty(lengths):
    _, found = run(lengths, budget=4)
    assert found["pair"].shape == (len(lengths), 2)


def test_groups_are_the_same_inside_a_graph():
    lengths = np.random.default_rng(0).integers(1, 30, 50).astype(np.int32)

    @tf.function(autograph=False)
    def double(lengths):
        return in_groups(
            lengths,
            lambda rows: {"x": 2 * tf.gather(lengths, rows)},
            {"x": tf.TensorSpec([None], tf.int32)},
            token_budget=64,
        )

    np.testing.assert_array_equal(double(lengths)["x"], 2 * lengths)


def test_budget_fits_the_machine(monkeypatch):
    assert not has_accelerator()
    assert default_token_budget() == CPU_TOKENS
    monkeypatch.setattr(token_budget, "has_accelerator", lambda: True)
    assert default_token_budget() == ACCELERATOR_TOKENS
