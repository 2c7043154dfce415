import contextlib
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from realm_tf.optimizers.bert_adamw import BertAdamW
from realm_tf.optimizers.warmup_linear_decay import WarmupLinearDecay

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures"
RUNS = json.loads((FIXTURES / "optimizer.json").read_text())


@pytest.fixture(scope="module")
def trajectories():
    with np.load(FIXTURES / "optimizer.npz") as file:
        return dict(file)


def schedule_of(run):
    return WarmupLinearDecay(
        run["init_lr"], run["num_train_steps"], run["num_warmup_steps"]
    )


def named_variable(path, value):
    *scopes, name = path.split("/")
    with contextlib.ExitStack() as stack:
        for scope in scopes:
            stack.enter_context(keras.name_scope(scope))
        return keras.Variable(value, name=name)


def looked_up(table, missing):
    """The gradient of a table, its largest row looked up four times.

    The squares of the four gradients sum to `missing` less than that of the
    row: quarters of it would miss 3/4, and what they differ by adds to them.
    """
    row = int(np.argmax(np.square(table).sum(axis=1)))
    more = 0.75 * np.square(table[row]).sum() - missing
    away = np.sqrt(more / 4) * np.array([[1, 0], [-1, 0], [1, 0], [-1, 0]])
    others = np.delete(np.arange(len(table)), row)
    values = np.concatenate([table[others], table[row] / 4 + away])
    return tf.IndexedSlices(
        values=tf.constant(values, tf.float32),
        indices=tf.constant([*others, row, row, row, row]),
        dense_shape=tf.constant(table.shape),
    )


@pytest.mark.parametrize("name", RUNS)
def test_weights_follow_the_official_ones(name, trajectories):
    run = RUNS[name]
    variables = [
        named_variable(path, trajectories[f"{name}/var/{path}"][0])
        for path in run["variables"]
    ]
    optimizer = BertAdamW(schedule_of(run))
    for step in range(20):
        gradients = {
            path: tf.constant(trajectories[f"{name}/grad/{path}"][step])
            for path in run["variables"]
        }
        if "table" in gradients:
            official, dense = (
                float(trajectories[f"{name}/grad_global_norm_{kind}"][step])
                for kind in ("official", "dense")
            )
            gradients["table"] = looked_up(
                gradients["table"].numpy(), dense**2 - official**2
            )
        gradients = list(gradients.values())
        optimizer.apply(gradients, variables)
        for path, variable in zip(run["variables"], variables, strict=True):
            official = trajectories[f"{name}/var/{path}"][step + 1]
            tolerance = 1e-5 * np.abs(official).max()
            np.testing.assert_allclose(variable, official, atol=tolerance)


def test_optimizer_and_schedule_survive_a_config_round_trip():
    optimizer = BertAdamW(
        WarmupLinearDecay(0.1, 20),
        weight_decay=0.02,
        beta_1=0.8,
        beta_2=0.99,
        epsilon=1e-5,
        global_clipnorm=2.0,
        official_clipping=False,
        not_decayed=("gamma",),
        bias_correction=True,
    )
    config = keras.optimizers.serialize(optimizer)
    copy = keras.optimizers.deserialize(json.loads(json.dumps(config)))
    assert isinstance(copy, BertAdamW)
    assert keras.optimizers.serialize(copy) == config


def updates(optimizer, gradients, paths=("kernel",)):
    """What one step adds to variables that were all 1."""
    variables = [
        named_variable(path, np.ones(gradient.shape, "float32"))
        for path, gradient in zip(paths, gradients, strict=True)
    ]
    optimizer.apply(gradients, variables)
    return [variable.numpy() - 1.0 for variable in variables]


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        # Without bias correction: lr (0.1 g / sqrt(0.001 g^2) + 0.01 w).
        ({}, -0.1 * (0.1 / np.sqrt(0.001) + 0.01)),
        ({"weight_decay": 0.5}, -0.1 * (0.1 / np.sqrt(0.001) + 0.5)),
        ({"beta_1": 0.5}, -0.1 * (0.5 / np.sqrt(0.001) + 0.01)),
        ({"beta_2": 0.9}, -0.1 * (0.1 / np.sqrt(0.1) + 0.01)),
        ({"epsilon": 1.0}, -0.1 * (0.05 / (0.5 * np.sqrt(0.001) + 1) + 0.01)),
        # The gradient 0.5 is cut to 0.25, which only epsilon can tell.
        (
            {"epsilon": 1.0, "global_clipnorm": 0.25},
            -0.1 * (0.025 / (0.25 * np.sqrt(0.001) + 1) + 0.01),
        ),
        ({"not_decayed": ("kernel",)}, -0.1 * (0.1 / np.sqrt(0.001))),
        # m and v are then the gradient and its square.
        ({"bias_correction": True}, -0.1 * (1 + 0.01)),
    ],
)
def test_first_update_equals_the_equation(option, expected):
    optimizer = BertAdamW(0.1, **option)
    (update,) = updates(optimizer, [tf.constant([0.5])])
    np.testing.assert_allclose(update, [expected], rtol=1e-4)


def test_bias_correction_is_that_of_keras():
    ours, theirs = (
        named_variable("kernel", np.ones(3, "float32")) for _ in range(2)
    )
    optimizers = (
        BertAdamW(0.1, global_clipnorm=None, bias_correction=True, epsilon=0.0),
        keras.optimizers.AdamW(0.1, weight_decay=0.01, epsilon=0.0),
    )
    rng = np.random.default_rng(0)
    for _ in range(5):
        gradient = tf.constant(rng.normal(size=3), tf.float32)
        for optimizer, variable in zip(optimizers, (ours, theirs), strict=True):
            optimizer.apply([gradient], [variable])
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    ("path", "is_decayed"),
    [
        ("token_embedding/embeddings", True),
        ("transformer_layer_0/self_attention_layer/query/kernel", True),
        ("transformer_layer_0/self_attention_layer/query/bias", False),
        ("transformer_layer_0/self_attention_layer_norm/gamma", False),
        ("embeddings_layer_norm/beta", False),
        ("layer_normalization_3/gamma", False),
        ("masked_lm_head/output_bias", False),
    ],
)
def test_layer_norms_and_biases_are_not_decayed(path, is_decayed):
    optimizer = BertAdamW(0.1)
    (update,) = updates(optimizer, [tf.constant([0.0])], [path])
    np.testing.assert_allclose(
        update, [-0.001 if is_decayed else 0.0], rtol=1e-4
    )


ROWS = tf.IndexedSlices(
    values=tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
    indices=tf.constant([1, 1, 3]),
    dense_shape=tf.constant([4, 2]),
)
SUMMED = tf.constant([[0.0, 0.0], [4.0, 6.0], [0.0, 0.0], [5.0, 6.0]])


@pytest.mark.parametrize(
    "option", [{"global_clipnorm": None}, {"official_clipping": False}]
)
def test_rows_looked_up_twice_are_summed(option):
    sparse = updates(BertAdamW(0.1, **option), [ROWS])
    dense = updates(BertAdamW(0.1, **option), [SUMMED])
    np.testing.assert_array_equal(sparse, dense)


@pytest.mark.parametrize(
    ("path", "norm_squared"),
    [
        # 1 + 4 + 9 + 16 + 25 + 36, and 9 of the bias.
        ("token_embedding/embeddings", 100.0),
        # 16 + 36 + 25 + 36 + 9: the BERT code has no look-ups here.
        ("segment_embedding/embeddings", 122.0),
    ],
)
def test_the_norm_counts_each_look_up_of_a_wordpiece(path, norm_squared):
    bias = tf.constant([3.0])
    clipped = SUMMED / np.sqrt(norm_squared)
    # Far below epsilon, an update is in proportion to the gradient; in
    # float32, what is added to 1 is exact to 6e-8.
    optimizer = BertAdamW(1e6, epsilon=1e6, weight_decay=0.0)
    update, _ = updates(optimizer, [ROWS, bias], [path, "bias"])
    np.testing.assert_allclose(update, -0.1 * clipped, rtol=1e-4)


def test_two_replicas_update_like_one(strategy, fitted_model):
    # The gradient's norm is above 1, so clipping each replica's half by
    # itself, as Keras does, would show.
    one = fitted_model(BertAdamW(0.1, epsilon=1.0))
    with strategy.scope():
        two = fitted_model(BertAdamW(0.1, epsilon=1.0))
    for expected, weight in zip(one.weights, two.weights, strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-5)


def test_training_resumes_from_a_saved_model(tmp_path, fitted_model):
    model = fitted_model(BertAdamW(WarmupLinearDecay(0.1, 20, 5)))
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    assert int(copy.optimizer.iterations) == 3
    for saved, loaded in zip(
        model.optimizer.variables, copy.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(saved, loaded)


def test_scaled_loss_is_clipped_as_if_it_were_not():
    plain = BertAdamW(0.1, epsilon=1.0, global_clipnorm=0.25)
    scaled = BertAdamW(
        0.1, epsilon=1.0, global_clipnorm=0.25, loss_scale_factor=8.0
    )
    expected = updates(plain, [tf.constant([0.5])])
    update = updates(scaled, [tf.constant([4.0])])
    np.testing.assert_allclose(update, expected, rtol=1e-5)


def test_gradients_that_are_missing_are_left_out():
    variables = [named_variable(n, np.ones(1, "float32")) for n in "ab"]
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        BertAdamW(0.1).apply([None, tf.constant([0.5])], variables)
    assert float(variables[0].numpy()[0]) == 1.0
    assert float(variables[1].numpy()[0]) < 1.0


def test_accumulated_gradients_are_clipped_together():
    gradients = [tf.constant([0.75]), tf.constant([-0.25])]
    accumulating = BertAdamW(
        0.1, epsilon=1.0, global_clipnorm=0.5, gradient_accumulation_steps=2
    )
    variable = named_variable("kernel", np.ones(1, "float32"))
    for gradient in gradients:
        accumulating.apply([gradient], [variable])
    mean = tf.constant([0.25])  # Clipped one by one: (0.5 - 0.25) / 2.
    (expected,) = updates(BertAdamW(0.1, epsilon=1.0), [mean])
    np.testing.assert_allclose(variable - 1.0, expected, rtol=1e-5)


def test_t10_accumulation_under_a_strategy_is_refused(strategy, fitted_model):
    with strategy.scope(), pytest.raises(ValueError, match="larger batch"):
        fitted_model(BertAdamW(0.1, gradient_accumulation_steps=2))
