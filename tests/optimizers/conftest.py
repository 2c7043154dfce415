import keras
import numpy as np
import pytest


@pytest.fixture(scope="session")
def fitted_model():
    return fit_model


def fit_model(optimizer):
    """A table, a bias and a layer norm after three steps of large loss."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Embedding(5, 3),
            keras.layers.LayerNormalization(),
            keras.layers.Dense(2),
            keras.layers.GlobalAveragePooling1D(),
        ]
    )
    model.compile(optimizer=optimizer, loss="mse")
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, (4, 6))
    y = 10.0 * rng.normal(size=(4, 2))
    model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    return model
