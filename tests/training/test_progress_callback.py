import keras
import numpy as np

from realm_tf.training.progress_callback import ProgressCallback


def test_steps_of_all_epochs_are_passed_on():
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    calls = []
    callback = ProgressCallback("reader", 4, lambda *call: calls.append(call))
    x = np.ones([4, 1])
    model.fit(x, x, batch_size=2, epochs=2, callbacks=[callback], verbose=0)
    assert [call[:3] for call in calls] == [
        ("reader", step, 4) for step in (1, 2, 3, 4)
    ]
    assert all(call[3]["loss"] > 0 for call in calls)
