import keras
import numpy as np

from realm_tf.losses.in_batch_loss import InBatchLoss

LOGITS = np.log([[[1.0, 3.0], [5.0, 1.0]], [[2.0, 2.0], [3.0, 1.0]]])
# Own blocks are at [0, :, 0] and [1, :, 1]: 1/4, 5/6; 1/2, 1/4.


def test_loss_is_the_mean_over_the_questions_of_each_row():
    loss = InBatchLoss()(np.ones((2, 2), "int32"), LOGITS)
    rows = [np.log(4) + np.log(6 / 5), np.log(2) + np.log(4)]
    np.testing.assert_allclose(loss, np.mean(rows) / 2, rtol=1e-6)


def test_loss_leaves_padding_out():
    loss = InBatchLoss(reduction=None)([[1, 0], [1, 1]], LOGITS)
    expected = [np.log(4), (np.log(2) + np.log(4)) / 2]
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    changed = LOGITS.copy()
    changed[0, 1] = [-50.0, 50.0]
    again = InBatchLoss(reduction=None)([[1, 0], [1, 1]], changed)
    np.testing.assert_array_equal(again, loss)


def test_loss_of_padding_alone_is_zero():
    loss = InBatchLoss(reduction=None)([[0, 0], [0, 1]], LOGITS)
    np.testing.assert_allclose(loss, [0.0, np.log(4)], rtol=1e-6)


def test_loss_of_a_single_row_is_zero():
    assert float(InBatchLoss()([[1, 1]], [[[3.0], [-2.0]]])) == 0.0


def test_other_blocks_of_a_row_are_negatives():
    logits = np.log([[[2.0, 1.0, 4.0, 1.0]], [[3.0, 1.0, 2.0, 2.0]]])
    loss = InBatchLoss(reduction=None)([[1], [1]], logits)
    # Two blocks a row, its own first: at 0 and at 2.
    np.testing.assert_allclose(loss, [np.log(4), np.log(4)], rtol=1e-6)


def test_loss_of_extreme_logits_is_finite():
    logits = [[[-1e9, 1e9]], [[0.0, 1e9]]]
    loss = InBatchLoss(reduction=None)([[1], [1]], logits)
    np.testing.assert_allclose(loss, [2e9, 0.0], rtol=1e-6)


def test_loss_config_round_trip():
    loss = InBatchLoss(reduction="sum", name="negatives")
    config = keras.saving.serialize_keras_object(loss)
    copy = keras.saving.deserialize_keras_object(config)
    assert isinstance(copy, InBatchLoss)
    assert copy.get_config() == loss.get_config()
    # 1/4 and 1/2 for the first questions of the rows.
    np.testing.assert_allclose(
        copy([[1, 0], [1, 0]], LOGITS), np.log(8), rtol=1e-6
    )


def test_loss_is_float32_under_any_policy():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        loss = InBatchLoss()(np.ones((2, 2), "int32"), LOGITS)
    finally:
        keras.config.set_dtype_policy(before)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert InBatchLoss(dtype="float64").dtype == "float64"
