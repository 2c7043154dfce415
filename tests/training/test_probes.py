import keras
import numpy as np
import pytest

from realm_tf.data.questions.questions import Question
from realm_tf.data.spans.sentence_masks import RandomTokenMasks
from realm_tf.layers.knowledge_augmented_encoder import (
    KnowledgeAugmentedEncoder,
)
from realm_tf.models.realm_pretrainer import RealmPretrainer
from realm_tf.options import MaskedSentenceOptions
from realm_tf.training.datasets.masked_sentence_dataset import (
    MaskedSentenceDataset,
)
from realm_tf.training.probes import ExampleProbe, FreshIndex, RecallProbe
from realm_tf.training.refresh.index_follower import IndexFollower


@pytest.fixture
def follower(exchange, refresher, snapshot, town_corpus):
    snapshot(0)
    refresher.refresh()
    qa = exchange.qa
    return IndexFollower(
        exchange, town_corpus, qa.featurizer, qa.query_embedder
    )


def test_recall_is_that_of_the_index(follower, town_corpus, town_questions):
    probe = RecallProbe(follower, town_questions, every_n_steps=4)
    retrieval = follower.acquire(0)
    found = retrieval.index.search(
        retrieval.embedder.questions([q.question for q in town_questions]), 10
    ).block_ids.tolist()
    # Question i is about block i, and names its passage.
    ranks = [row.index(i) + 1 for i, row in enumerate(found)]
    expected = {
        f"recall_at_{k}": np.mean([rank <= k for rank in ranks])
        for k in (1, 5, 20)
    }
    assert probe.measure() == pytest.approx(expected)
    assert expected["recall_at_20"] == 1.0
    logs = {"loss": 1.0}
    probe.on_train_batch_end(0, logs)
    assert logs == pytest.approx({"loss": 1.0, **expected})


def test_without_a_passage_the_answer_counts(follower):
    questions = [
        Question("a", "when was paris founded?", ("1000",)),
        Question("b", "when was rome founded?", ("no such year",)),
    ]
    figures = RecallProbe(follower, questions).measure()
    assert figures["recall_at_20"] == 0.5


def test_probe_asks_again_every_few_steps(follower, town_questions):
    probe = RecallProbe(
        follower, town_questions[:1], every_n_steps=2, num_steps=5
    )
    calls = []
    probe.measure = lambda: calls.append(1) or {"recall_at_1": 0.0}
    for step in range(5):
        probe.on_train_batch_end(step, {})
    assert len(calls) == 4  # at the steps 1, 2, 4 and 5


def test_probe_of_a_run_that_goes_on_knows_the_last_figures(
    follower, town_questions
):
    probe = RecallProbe(follower, town_questions[:1], every_n_steps=2)
    probe.measure = lambda: pytest.fail("asked again")
    probe.go_on(2, {"loss": 1.0, "recall_at_5": 0.25})
    logs = {"loss": 2.0}
    probe.on_train_batch_end(0, logs)
    assert logs == {"loss": 2.0, "recall_at_5": 0.25}


def test_fresh_index_is_of_the_weights_of_the_moment(
    make_qa, town_corpus, town_questions
):
    qa = make_qa(width=8)
    fresh = FreshIndex(qa, town_corpus)
    texts = [q.question for q in town_questions]
    for sign in (1.0, -1.0):
        kernel = qa.block_embedder.projection.kernel
        kernel.assign(kernel * sign + 0.1)
        retrieval = fresh.acquire(0)
        qa.build_index(town_corpus)
        np.testing.assert_array_equal(
            retrieval.index.search(
                retrieval.embedder.questions(texts), 3
            ).block_ids,
            qa.search(texts, 3).block_ids,
        )


def test_examples_show_words_and_blocks(
    exchange, follower, town_corpus, tmp_path
):
    qa = exchange.qa
    data = MaskedSentenceDataset(
        town_corpus,
        RandomTokenMasks(),
        follower,
        qa.featurizer,
        MaskedSentenceOptions(batch_size=3, num_candidates=3, query_length=24),
    )
    model = RealmPretrainer(
        qa.block_embedder, KnowledgeAugmentedEncoder(qa.reader.backbone)
    )
    model.build(None)
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    probe = ExampleProbe(data, tmp_path, every_n_steps=5, num_examples=2)
    probe.set_model(model)
    probe.go_on(3, {})
    probe.on_train_batch_end(0)
    assert not (tmp_path / "examples.md").exists()
    probe.on_train_batch_end(1)
    text = (tmp_path / "examples.md").read_text("utf-8")
    assert text.startswith("## Step 5")
    assert text.count("without a block") == 2
    assert "[MASK]" in text
    assert list((tmp_path / "tensorboard").iterdir())
    for step in (10, 15):
        probe.show(step)
    probe.go_on(12, {})
    kept = (tmp_path / "examples.md").read_text("utf-8")
    assert kept.startswith(text)
    assert "## Step 10\n" in kept and "## Step 15" not in kept
