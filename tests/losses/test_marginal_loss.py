import keras
import numpy as np
import pytest

from realm_tf.losses.marginal_loss import MarginalLoss


def test_loss_equals_the_formula():
    labels = np.array([[1, 0, -1, 1], [0, 1, 0, -1]])
    logits = np.array([[1.0, 2.0, 9.0, 0.5], [0.0, -1.0, 3.0, 9.0]])
    weights = np.exp(logits) * (labels >= 0)
    share = (weights * (labels > 0)).sum(-1) / weights.sum(-1)
    np.testing.assert_allclose(
        MarginalLoss()(labels, logits), -np.log(share).mean(), rtol=1e-6
    )


def test_all_axes_but_the_first_share_one_softmax():
    labels = np.array([[[1, 0], [0, -1]]])
    # Three choices of equal logits: -log(1 / 3).
    loss = MarginalLoss()(labels, np.zeros((1, 2, 2)))
    np.testing.assert_allclose(loss, np.log(3.0), rtol=1e-6)


@pytest.mark.parametrize("labels", [[-1, -1, -1], [0, 0, 0], [0, -1, 0]])
def test_loss_is_0_without_a_positive(labels):
    loss = MarginalLoss(reduction=None)(
        [labels, [1, 0, -1]], [[3.0, 1.0, 2.0], [0.0, 0.0, 9.0]]
    )
    np.testing.assert_allclose(loss, [0.0, np.log(2.0)], rtol=1e-6)


def test_reduction_decides_what_is_returned():
    labels, logits = [[1, 0], [1, -1]], np.zeros((2, 2))
    summed = MarginalLoss(reduction="sum")(labels, logits)
    mean = MarginalLoss()(labels, logits)
    np.testing.assert_allclose(summed, np.log(2.0), rtol=1e-6)
    np.testing.assert_allclose(mean, np.log(2.0) / 2, rtol=1e-6)


def test_float16_logits_are_computed_in_float32():
    # exp(12) is beyond float16, whose largest number is 65504.
    logits = np.array([[12.0, 13.0, 12.0]], "float16")
    loss = MarginalLoss()(np.array([[1, 0, -1]], "int8"), logits)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    np.testing.assert_allclose(loss, np.log(1 + np.e), rtol=1e-6)


def test_config_round_trip():
    loss = MarginalLoss(reduction="sum", name="reading")
    config = keras.saving.serialize_keras_object(loss)
    copy = keras.saving.deserialize_keras_object(config)
    assert isinstance(copy, MarginalLoss)
    assert copy.get_config() == loss.get_config()
    assert copy.reduction == "sum"


def test_fit_raises_the_positives():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(4)(inputs))
    model.compile(optimizer=keras.optimizers.SGD(0.5), loss=MarginalLoss())
    labels = np.array([[1, 0, 0, -1], [0, 1, 0, -1], [0, 0, 1, -1]])
    history = model.fit(
        np.eye(3), labels, epochs=20, batch_size=3, verbose=0
    ).history
    assert history["loss"][-1] < history["loss"][0] / 2
    best = np.argmax(model(np.eye(3))[:, :3], axis=-1)
    np.testing.assert_array_equal(best, [0, 1, 2])
