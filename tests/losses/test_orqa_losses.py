import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from realm_tf.losses.orqa_losses import (
    masked_marginal_loss,
    reader_loss,
    retrieval_loss,
)

FIXTURE = pathlib.Path(__file__).parents[1] / "fixtures" / "orqa_ops.json"
GOLDEN = json.loads(FIXTURE.read_text())["marginal_log_loss"]


def official_loss(case):
    """Where the original has no positive, its loss of 10000 is multiplied by 0.

    And where a positive logit is itself -10000, it is no better than what the
    original excludes by -10000; here exclusion is exact, as in the formula.
    """
    if not any(case["is_correct"]):
        assert case["loss"] == 10_000.0
        return 0.0
    if -10_000.0 in case["logits"]:
        return 10_005.0  # logsumexp(-10000, 5) - -10000
    return case["loss"]


@pytest.mark.parametrize("case", GOLDEN)
def test_marginal_loss_equals_the_official_one(case):
    loss = masked_marginal_loss([case["logits"]], [case["is_correct"]])
    np.testing.assert_allclose(loss, [official_loss(case)], rtol=1e-6)


def test_marginal_loss_equals_the_formula():
    logits = np.array([[1.0, 2.0, 3.0], [0.5, -1.0, 4.0]])
    positive = np.array([[True, False, True], [False, True, False]])
    share = (np.exp(logits) * positive).sum(-1) / np.exp(logits).sum(-1)
    np.testing.assert_allclose(
        masked_marginal_loss(logits, positive), -np.log(share), rtol=1e-6
    )


@pytest.mark.parametrize("extreme", [1e4, 1e8])
def test_extreme_logits_give_finite_losses_and_gradients(extreme):
    logits = tf.constant([[extreme, -extreme], [-extreme, extreme]])
    positive = tf.constant([[True, False], [True, False]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = masked_marginal_loss(logits, positive)
    np.testing.assert_allclose(loss, [0.0, 2 * extreme])
    np.testing.assert_allclose(
        tape.gradient(loss, logits), [[0.0, 0.0], [-1.0, 1.0]]
    )


def test_masking_equals_removing():
    logits = np.array([[1.0, 2.0, 3.0]])
    positive = np.array([[True, True, False]])
    mask = np.array([[True, False, True]])
    np.testing.assert_allclose(
        masked_marginal_loss(logits, positive, mask),
        masked_marginal_loss(logits[:, [0, 2]], positive[:, [0, 2]]),
    )


@pytest.mark.parametrize("all_masked", [False, True])
def test_nothing_to_find_gives_no_loss_and_no_gradient(all_masked):
    logits = tf.constant([[1.0, 2.0]])
    positive = tf.fill((1, 2), all_masked)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = masked_marginal_loss(
            logits, positive, mask=[[not all_masked] * 2]
        )
    np.testing.assert_array_equal(loss, [0.0])
    np.testing.assert_array_equal(tape.gradient(loss, logits), [[0.0, 0.0]])


def test_masked_candidates_may_have_the_infinite_score_of_search():
    logits = tf.constant([[1.0, 2.0, -np.inf]])
    mask = tf.constant([[True, True, False]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = retrieval_loss(logits, [[True, False, False]], mask)
    np.testing.assert_allclose(loss, [np.log(1 + np.e)], rtol=1e-6)
    assert np.isfinite(tape.gradient(loss, logits)).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_logits_are_summed_in_float32(dtype):
    logits = tf.zeros((1, 3000), dtype)  # bfloat16 cannot count to 3000.
    positive = np.arange(3000)[None] < 1
    loss = masked_marginal_loss(logits, positive)
    assert loss.dtype == "float32"
    np.testing.assert_allclose(loss, [np.log(3000)], rtol=1e-6)


@pytest.fixture
def questions():
    """Two questions, three blocks, four spans."""
    rng = np.random.default_rng(0)
    return {
        "span_logits": rng.normal(size=(2, 3, 4)).astype("float32"),
        "retrieval_logits": rng.normal(size=(2, 3)).astype("float32"),
        "gold_mask": rng.random((2, 3, 4)) < 0.3,
    }


def test_reader_loss_is_one_softmax_over_all_spans_of_all_blocks(questions):
    joint = questions["span_logits"] + questions["retrieval_logits"][..., None]
    odds = np.exp(joint)
    share = (odds * questions["gold_mask"]).sum((1, 2)) / odds.sum((1, 2))
    np.testing.assert_allclose(
        reader_loss(**questions), -np.log(share), rtol=1e-5
    )


def test_permuting_blocks_changes_no_reader_loss(questions):
    order = [2, 0, 1]
    permuted = {name: value[:, order] for name, value in questions.items()}
    np.testing.assert_allclose(
        reader_loss(**permuted), reader_loss(**questions), rtol=1e-6
    )


def test_one_block_needs_no_retrieval_logit(questions):
    one = {name: value[:, :1] for name, value in questions.items()}
    raised = {**one, "retrieval_logits": one["retrieval_logits"] + 7.0}
    np.testing.assert_allclose(
        reader_loss(**one), reader_loss(**raised), rtol=1e-5
    )


def test_masking_a_block_equals_not_reading_it(questions):
    mask = np.array([[True, False, True]] * 2)
    removed = {name: np.delete(x, 1, axis=1) for name, x in questions.items()}
    np.testing.assert_allclose(
        reader_loss(**questions, candidate_mask=mask),
        reader_loss(**removed),
        rtol=1e-6,
    )


def test_questions_of_a_batch_do_not_mix(questions):
    second = {name: value[1:] for name, value in questions.items()}
    np.testing.assert_allclose(
        reader_loss(**questions)[1:], reader_loss(**second), rtol=1e-6
    )


def test_reader_loss_reaches_the_retriever(questions):
    retrieval_logits = tf.constant(questions["retrieval_logits"])
    with tf.GradientTape() as tape:
        tape.watch(retrieval_logits)
        loss = reader_loss(
            questions["span_logits"], retrieval_logits, questions["gold_mask"]
        )
    gradient = tape.gradient(loss, retrieval_logits).numpy()
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).min() > 0


def test_retrieval_loss_is_lowered_by_raising_an_answer_block():
    answers = [[False, True, True]]
    low, high = ([[0.0, 0.0, x]] for x in (0.0, 1.0))
    np.testing.assert_allclose(
        retrieval_loss(low, answers), [-np.log(2 / 3)], rtol=1e-6
    )
    assert retrieval_loss(high, answers)[0] < retrieval_loss(low, answers)[0]
