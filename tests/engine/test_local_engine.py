import numpy as np
import pytest

from realm_tf.data.corpus.answer import Evidence
from realm_tf.data.corpus.blocks import Block
from realm_tf.engine.engine import MISSING_SCORE
from realm_tf.engine.local_engine import LocalEngine
from realm_tf.errors import BackendError
from realm_tf.evaluation.calibration import TEMPERATURES, Calibration


@pytest.fixture(scope="module")
def engine(qa):
    return LocalEngine(
        qa.featurizer,
        qa.query_embedder,
        qa.block_embedder,
        qa.reader,
        token_budget=100,
    )


def test_questions_are_embedded_and_truncation_told(engine, qa):
    embedded = engine.embed_questions(["who?", "where is it now? " * 9])
    want = qa.query_embedder(qa.featurizer.questions(["who?"]))
    np.testing.assert_allclose(embedded.embeddings[:1], want, atol=1e-5)
    assert embedded.truncated.tolist() == [False, True]
    assert embedded.fingerprint == ""


def test_blocks_are_embedded_by_their_own_embedder(engine, qa):
    called = []
    embedded = engine.embed_blocks(
        ["Paris"], ["a city"], before_part=lambda: called.append(1)
    )
    want = qa.block_embedder(qa.featurizer.blocks(["Paris"], ["a city"]))
    np.testing.assert_allclose(embedded.embeddings, want, atol=1e-5)
    assert called == [1]


def test_shared_embedders_share_their_graphs(make_qa):
    qa = make_qa()
    assert qa.question_embedding is qa.block_embedding


def test_blocks_are_read_with_as_many_answers_as_asked_for(engine):
    titles = [["Paris", ""], ["", ""]]
    texts = [["a city in France", "a town"], ["", ""]]
    scores = np.array([[1.0, 0.5], [MISSING_SCORE] * 2], np.float32)
    readings = engine.read(["where?", "who?"], titles, texts, scores, 3)
    assert [len(spans) for spans in readings.spans] == [3, 0]
    for span in readings.spans[0]:
        text = texts[0][span.block_position].encode()
        assert text[span.byte_start : span.byte_end].decode() == span.text
    none = engine.read([], [], [], np.zeros((0, 2), np.float32), 3)
    assert none.spans == ()


def test_temperature_divides_all_logits(engine):
    evidence = [
        Evidence(
            question=question,
            blocks=(Block("a city in France"), Block("a town")),
            retrieval_logits=np.array([1.0, 0.5], np.float32),
            truncated=False,
        )
        for question in ("where?", "who?")
    ]
    texts, probabilities = engine.best_by_temperature(evidence, 3)
    assert probabilities.shape == (len(TEMPERATURES), 2)
    # Colder answers are surer.
    assert (probabilities[0] > probabilities[-1]).all()
    try:
        for i in (0, 6, 20):
            engine.calibration = Calibration(TEMPERATURES[i], 0.25)
            spans, readings = engine.read_evidence(evidence, 3, 1)
            assert readings.threshold == 0.25
            assert [row[0].text for row in spans] == texts
            np.testing.assert_allclose(
                [row[0].probability for row in spans],
                probabilities[i],
                atol=1e-6,
            )
    finally:
        engine.calibration = Calibration()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_an_error(make_qa, bad):
    qa = make_qa()
    bias = qa.reader.weights[-1]
    bias.assign(np.full(bias.shape, bad))
    engine = LocalEngine(
        qa.featurizer, qa.query_embedder, qa.block_embedder, qa.reader
    )
    scores = np.ones((1, 1), np.float32)
    with pytest.raises(BackendError, match="must give finite numbers"):
        engine.read(["who?"], [["Paris"]], [["a city in France"]], scores, 3)


def test_lengths_beyond_the_backbone_are_refused(qa, featurizer):
    with pytest.raises(ValueError, match="backbones of 80 wordpieces"):
        LocalEngine(featurizer, qa.query_embedder, qa.block_embedder, qa.reader)
