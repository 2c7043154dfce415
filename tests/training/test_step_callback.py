import keras
import numpy as np

from realm_tf.training.step_callback import StepCallback


class Recorder(StepCallback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_step(self, logs):
        self.seen.append(self.step)
        assert "loss" in logs


def test_steps_are_counted_over_runs():
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones([4, 1])
    recorder = Recorder()
    recorder.go_on(10, {})
    for _ in range(2):
        model.fit(x, x, batch_size=2, callbacks=[recorder], verbose=0)
    assert recorder.seen == [11, 12, 13, 14]
