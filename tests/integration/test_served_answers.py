"""Served answers are those of `RealmQA.predict`, for all bundled questions."""

import gzip
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.serving.bundle import QA

DEMO = pathlib.Path(__file__).parents[2] / "demo" / "data"
_AT_ONCE = 64
_CLOSE = 1e-5


@pytest.fixture(scope="module")
def bundled_qa(make_qa, short_featurizer, tmp_path_factory):
    """A tiny model with the bundled corpus."""
    folder = tmp_path_factory.mktemp("bundled")
    qa = make_qa(separate=True)
    corpus = build_corpus(
        [DEMO / "passages.jsonl.gz"], folder / "corpus", short_featurizer
    )
    qa.build_index(corpus, folder / "index")
    return qa


@pytest.mark.large
def test_served_answers_equal_local_ones_on_all_bundled_questions(
    bundled_qa, tmp_path
):
    with gzip.open(DEMO / "questions.jsonl.gz", "rt", encoding="utf-8") as file:
        questions = [json.loads(line)["question"] for line in file]
    bundle = bundled_qa.export(tmp_path / "out", models=("qa",))
    model = tf.saved_model.load(str(bundle.model_path(QA)))
    serve = model.signatures["serving_default"]
    for start in range(0, len(questions), _AT_ONCE):
        part = questions[start : start + _AT_ONCE]
        got = {k: v.numpy() for k, v in serve(tf.constant(part)).items()}
        for i, answer in enumerate(bundled_qa.predict(part)):
            assert_served(answer, {name: v[i] for name, v in got.items()})


def assert_served(answer, served):
    names = ("probability", "retrieval_probability", "reading_probability")
    texts = [text.decode() for text in served["text"]]
    rows = np.stack([served[name] for name in names], 1)
    found = dict(zip(texts, rows, strict=True))
    spans = [answer, *answer.alternatives]
    np.testing.assert_allclose(
        rows[: len(spans), 0], [s.probability for s in spans], atol=_CLOSE
    )
    for span in spans:
        # The last may be one of several as probable; others are the same.
        if span.probability > spans[-1].probability + _CLOSE:
            want = [getattr(span, name) for name in names]
            np.testing.assert_allclose(found[span.text], want, atol=_CLOSE)
