import numpy as np
import pytest
import tensorflow as tf

from realm_tf.losses.marginal_likelihood import (
    marginal_log_likelihood,
    marginal_mlm_loss,
    retrieval_utility,
    token_log_probs,
)


def softmax(logits):
    odds = np.exp(logits)
    return odds / odds.sum(-1, keepdims=True)


@pytest.fixture
def batch():
    """Two examples, three candidates, four targets, the last one padding."""
    rng = np.random.default_rng(0)
    mask_weights = np.ones((2, 4), "float32")
    mask_weights[:, 3] = 0
    mask_weights[1, 2] = 0
    return {
        "retrieval_logits": rng.normal(size=(2, 3)).astype("float32"),
        "gold_log_probs": -rng.exponential(size=(2, 3, 4)).astype("float32"),
        "mask_weights": mask_weights,
    }


def test_token_log_probs_are_those_of_the_softmax():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 3, 4, 7))
    mask_ids = rng.integers(0, 7, (2, 4))
    expected = np.log(softmax(logits))
    log_probs = token_log_probs(logits, mask_ids)
    assert tuple(log_probs.shape) == (2, 3, 4)
    for example in range(2):
        for target, token in enumerate(mask_ids[example]):
            np.testing.assert_allclose(
                log_probs[example, :, target],
                expected[example, :, target, token],
                rtol=1e-5,
            )


def test_marginal_log_likelihood_equals_the_formula(batch):
    blocks = softmax(batch["retrieval_logits"])
    targets = np.exp(batch["gold_log_probs"])
    expected = np.log(np.einsum("bc,bct->bt", blocks, targets))
    np.testing.assert_allclose(
        marginal_log_likelihood(
            batch["retrieval_logits"], batch["gold_log_probs"]
        ),
        expected,
        rtol=1e-5,
    )


def test_token_loss_averages_over_the_targets_of_the_batch(batch):
    likelihood = marginal_log_likelihood(
        batch["retrieval_logits"], batch["gold_log_probs"]
    ).numpy()
    expected = -(likelihood[0, :3].sum() + likelihood[1, :2].sum()) / 5
    np.testing.assert_allclose(
        marginal_mlm_loss(**batch, marginalize="token"), expected, rtol=1e-6
    )


def test_example_loss_marginalises_all_targets_together(batch):
    blocks = softmax(batch["retrieval_logits"])
    targets = np.exp(batch["gold_log_probs"])
    first = blocks[0] @ targets[0, :, :3].prod(-1)
    second = blocks[1] @ targets[1, :, :2].prod(-1)
    expected = -(np.log(first) + np.log(second)) / 2
    np.testing.assert_allclose(
        marginal_mlm_loss(**batch, marginalize="example"), expected, rtol=1e-5
    )


@pytest.mark.parametrize("marginalize", ["token", "example"])
def test_padding_targets_change_nothing(batch, marginalize):
    loss = marginal_mlm_loss(**batch, marginalize=marginalize)
    cut = {
        **batch,
        "gold_log_probs": batch["gold_log_probs"][..., :3],
        "mask_weights": batch["mask_weights"][..., :3],
    }
    np.testing.assert_allclose(
        marginal_mlm_loss(**cut, marginalize=marginalize), loss, rtol=1e-6
    )


@pytest.mark.parametrize("marginalize", ["token", "example"])
def test_examples_without_targets_do_not_count(batch, marginalize):
    batch["mask_weights"][1] = 0
    first = {name: value[:1] for name, value in batch.items()}
    np.testing.assert_allclose(
        marginal_mlm_loss(**batch, marginalize=marginalize),
        marginal_mlm_loss(**first, marginalize=marginalize),
        rtol=1e-6,
    )


@pytest.mark.parametrize("marginalize", ["token", "example"])
def test_no_targets_at_all_give_zero_and_no_gradient(batch, marginalize):
    batch["mask_weights"][:] = 0
    logits = tf.constant(batch.pop("retrieval_logits"))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = marginal_mlm_loss(logits, **batch, marginalize=marginalize)
    assert loss == 0.0
    assert not tape.gradient(loss, logits).numpy().any()
    assert retrieval_utility(logits, **batch) == 0.0


@pytest.mark.parametrize("marginalize", ["token", "example"])
def test_permuting_candidates_changes_nothing(batch, marginalize):
    loss = marginal_mlm_loss(**batch, marginalize=marginalize)
    order = [2, 0, 1]
    batch["retrieval_logits"] = batch["retrieval_logits"][:, order]
    batch["gold_log_probs"] = batch["gold_log_probs"][:, order]
    np.testing.assert_allclose(
        marginal_mlm_loss(**batch, marginalize=marginalize), loss, rtol=1e-6
    )


def test_one_candidate_is_plain_masked_lm(batch):
    log_probs = batch["gold_log_probs"][:, :1]
    weights = batch["mask_weights"]
    loss = marginal_mlm_loss([[3.0], [-3.0]], log_probs, weights)
    expected = -(log_probs[:, 0] * weights).sum() / weights.sum()
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


@pytest.mark.parametrize("extreme", [1e4, 1e8])
def test_extreme_logits_give_finite_losses_and_gradients(extreme):
    logits = tf.constant([[extreme, -extreme]])
    log_probs = tf.constant([[[-1.0], [-extreme]]])
    with tf.GradientTape() as tape:
        tape.watch([logits, log_probs])
        loss = marginal_mlm_loss(logits, log_probs, [[1.0]])
    np.testing.assert_allclose(loss, 1.0)
    for gradient in tape.gradient(loss, [logits, log_probs]):
        assert np.isfinite(gradient).all()


def test_gradient_of_a_score_is_that_of_the_paper():
    # r(z) = (p(y | z, x) / p(y | x) - 1) p(z | x), Guu et al., 2020, 3.3.
    logits = tf.constant([[0.3, -0.2, 1.0]])
    likelihoods = np.array([0.1, 0.7, 0.4], "float32")
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_probs = np.log(likelihoods)[None, :, None]
        loss = marginal_mlm_loss(logits, log_probs, [[1.0]])
    blocks = softmax(logits.numpy()[0])
    expected = (likelihoods / (blocks @ likelihoods) - 1) * blocks
    np.testing.assert_allclose(
        -tape.gradient(loss, logits)[0], expected, rtol=1e-5
    )


@pytest.mark.parametrize("marginalize", ["token", "example"])
def test_gradients_reach_both_embedders_and_the_encoder(batch, marginalize):
    rng = np.random.default_rng(0)
    queries = tf.constant(rng.normal(size=(2, 8)), tf.float32)
    blocks = tf.constant(rng.normal(size=(2, 3, 8)), tf.float32)
    log_probs = tf.constant(batch["gold_log_probs"])
    with tf.GradientTape() as tape:
        tape.watch([queries, blocks, log_probs])
        loss = marginal_mlm_loss(
            tf.einsum("bd,bcd->bc", queries, blocks),
            log_probs,
            batch["mask_weights"],
            marginalize,
        )
    for gradient in tape.gradient(loss, [queries, blocks, log_probs]):
        assert np.isfinite(gradient).all()
        # Every example and every candidate takes part.
        assert np.abs(gradient).sum(-1).min() > 0


def test_retrieval_utility_is_the_gain_over_the_null_block(batch):
    likelihood = marginal_log_likelihood(
        batch["retrieval_logits"], batch["gold_log_probs"]
    ).numpy()
    gain = likelihood - batch["gold_log_probs"][:, 0]
    expected = (gain[0, :3].sum() + gain[1, :2].sum()) / 5
    np.testing.assert_allclose(retrieval_utility(**batch), expected, rtol=1e-5)


def test_null_block_alone_has_no_utility(batch):
    batch["retrieval_logits"] = batch["retrieval_logits"][:, :1]
    batch["gold_log_probs"] = batch["gold_log_probs"][:, :1]
    np.testing.assert_allclose(retrieval_utility(**batch), 0.0, atol=1e-6)


def test_half_precision_is_lifted_to_float32(batch):
    half = {name: tf.cast(x, "bfloat16") for name, x in batch.items()}
    assert marginal_mlm_loss(**half).dtype == "float32"
    logits = tf.zeros((1, 1, 1, 3000), "bfloat16")
    log_probs = token_log_probs(logits, [[0]])
    np.testing.assert_allclose(log_probs, [[[-np.log(3000)]]], rtol=1e-6)


def test_unequal_numbers_of_candidates_are_refused():
    with pytest.raises(ValueError, match="same `num_candidates`"):
        marginal_log_likelihood([[0.0, 0.0]], [[[0.0]]])


def test_unknown_marginalization_is_refused(batch):
    with pytest.raises(ValueError, match="`marginalize` must be.*'block'"):
        marginal_mlm_loss(**batch, marginalize="block")
