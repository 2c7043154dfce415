import keras
import numpy as np
import pytest
import tensorflow as tf

from realm_tf.models.pretrainer import Pretrainer


class Sum(Pretrainer):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)

    def call(self, inputs):
        return self.dense(inputs["x"])

    def compute_loss(self, x, y, y_pred, sample_weight, training=True):
        return keras.ops.mean(y_pred)


class Steps:
    """Three steps an epoch; remembers which were asked for."""

    steps_per_epoch = 3
    asked = ()

    def as_dataset(self, start, end):
        self.asked = (start, end)
        x = np.ones((end - start, 2, 1), "float32")
        return tf.data.Dataset.from_tensor_slices({"x": x})


@pytest.mark.parametrize(
    ("options", "num_steps", "num_epochs"),
    [({}, 3, 1), ({"epochs": 2}, 6, 2), ({"steps_per_epoch": 2}, 2, 1)],
    ids=str,
)
def test_steps_go_on_through_all_epochs(options, num_steps, num_epochs):
    data, batches = Steps(), []
    count = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: batches.append(batch)
    )
    model = Sum()
    model.compile(optimizer="sgd")
    history = model.fit(data, verbose=0, callbacks=[count], **options)
    assert data.asked == (0, num_steps)
    assert len(batches) == num_steps
    assert len(history.history["loss"]) == num_epochs


def test_other_data_is_fitted_as_ever():
    model = Sum()
    model.compile(optimizer="sgd")
    x = {"x": np.ones((4, 1), "float32")}
    history = model.fit(x, batch_size=2, epochs=2, verbose=0)
    assert len(history.history["loss"]) == 2


def test_several_hosts_are_refused(monkeypatch):
    class MultiWorkerMirroredStrategy:
        pass

    strategy = MultiWorkerMirroredStrategy()
    monkeypatch.setattr(Sum, "distribute_strategy", strategy)
    with pytest.raises(ValueError, match="on several hosts"):
        Sum().fit(Steps())
