import keras
import keras_hub
import numpy as np
import pytest

POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")
VOCABULARY_SIZE = 30


@pytest.fixture
def make_backbone():
    """Builds the smallest trunk; without dropout, so that calls repeat."""

    def make(dtype="float32", dropout=0.0):
        return keras_hub.models.BertBackbone(
            vocabulary_size=VOCABULARY_SIZE,
            num_layers=2,
            num_heads=2,
            hidden_dim=4,
            intermediate_dim=8,
            max_sequence_length=12,
            dropout=dropout,
            dtype=dtype,
        )

    return make


@pytest.fixture
def make_features():
    """Random features whose last two positions are padding."""

    def make(*shape):
        rng = np.random.default_rng(0)
        padding_mask = np.ones(shape, "int32")
        padding_mask[..., -2:] = 0
        token_ids = rng.integers(1, VOCABULARY_SIZE, shape, "int32")
        return {
            "token_ids": token_ids * padding_mask,
            "segment_ids": rng.integers(0, 2, shape, "int32") * padding_mask,
            "padding_mask": padding_mask,
        }

    return make


class LayerContract:
    """What every layer promises, checked on one set of call arguments.

    `make` takes a dtype policy and returns a new layer; `arguments` are its
    call arguments by name, the first one given by position.
    """

    def __init__(self, make, arguments, expected_shape):
        self.make = make
        self.arguments = arguments
        self.expected_shape = expected_shape

    def check(self, tmp_path):
        self.check_eager_call()
        self.check_config_round_trip()
        self.check_save_and_load(tmp_path)
        for policy in POLICIES:
            self.check_fit(policy)

    def check_eager_call(self):
        outputs = self.call(self.make("float32"), self.arguments)
        assert tuple(outputs.shape) == self.expected_shape
        assert keras.backend.standardize_dtype(outputs.dtype) == "float32"

    def check_config_round_trip(self):
        layer = self.make("mixed_bfloat16")
        copy = type(layer).from_config(layer.get_config())
        assert copy.get_config() == layer.get_config()

    def check_save_and_load(self, tmp_path):
        model = self.functional_model("float32")
        model.save(tmp_path / "model.keras")
        copy = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(
            copy(self.arguments), model(self.arguments)
        )

    def check_fit(self, policy):
        model = self.functional_model(policy)
        assert model.output.shape == (None, *self.expected_shape[1:])
        assert model.output.dtype == "float32"
        if not model.trainable_weights:
            return  # The retriever: Keras refuses to fit it alone.
        model.compile(optimizer="sgd", loss="mse", run_eagerly=True)
        targets = np.ones(self.expected_shape, "float32")
        history = model.fit(self.arguments, targets, verbose=0)
        assert np.isfinite(history.history["loss"]).all()
        for weight in model.weights:
            assert np.isfinite(weight.numpy()).all(), weight.path

    def functional_model(self, policy):
        inputs = symbolic(self.arguments)
        return keras.Model(inputs, self.call(self.make(policy), inputs))

    @staticmethod
    def call(layer, arguments):
        first, *rest = arguments
        return layer(
            arguments[first], **{name: arguments[name] for name in rest}
        )


def symbolic(arguments):
    """Symbolic inputs, each named after its key as Keras demands."""
    return {
        name: symbolic(value)
        if isinstance(value, dict)
        else keras.Input(value.shape[1:], dtype=str(value.dtype), name=name)
        for name, value in arguments.items()
    }


@pytest.fixture
def check_layer(tmp_path):
    def check(make, arguments, expected_shape):
        LayerContract(make, arguments, expected_shape).check(tmp_path)

    return check
