import dataclasses
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.data.questions.questions import Question
from realm_tf.models.question_answerer import QuestionAnswerer
from realm_tf.options import FinetuneOptions, ReadingOptions
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.training import finetuning
from realm_tf.training.datasets.answer_labels import AnswerLabels
from realm_tf.training.datasets.reading_dataset import ReadingDataset
from realm_tf.training.datasets.retriever_dataset import RetrieverDataset
from realm_tf.training.finetuning import compile_open_qa, finetune

NOWHERE = Question("nowhere", "when was it not founded?", ("England",))


def table(layer):
    return np.array(layer.backbone.token_embedding.embeddings)


class Finetuned:
    """Both stages on the ten towns, and what they reported."""

    def __init__(self, qa, corpus, questions, index_path):
        self.qa = qa
        self.index_path = index_path
        self.tables = [table(qa.block_embedder), table(qa.reader)]
        self.calls = []
        self.epochs = []
        callback = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: self.epochs.append(epoch)
        )
        # Its answer is in every block and marked in none.
        unmarked = Question("city", "what is paris?", ("city",))
        self.report = finetune(
            qa,
            corpus,
            [*questions * 3, unmarked, NOWHERE],
            FinetuneOptions(
                retriever_epochs=2,
                retriever_batch_size=5,
                retriever_learning_rate=1e-3,
                num_negatives=1,
                epochs=3,
                batch_size=4,
                learning_rate=2e-2,  # of which 21 steps see a fifth
                num_retrieved=6,
            ),
            index_path=index_path,
            callbacks=[callback],
            progress=lambda *call: self.calls.append(call),
        )

    def steps(self, stage):
        return [call[1:3] for call in self.calls if call[0] == stage]


@pytest.fixture(scope="module")
def finetuned(make_qa, town_corpus, town_questions, tmp_path_factory):
    path = tmp_path_factory.mktemp("finetuned") / "index"
    return Finetuned(make_qa(width=8), town_corpus, town_questions, path)


def test_loss_falls(finetuned):
    # That of the retriever stands still: its embedder does not learn here.
    loss = finetuned.report.history["reader"]["reading_loss"]
    assert len(loss) == 3
    assert loss[-1] < 0.7 * loss[0]
    assert np.isfinite(finetuned.report.history["retriever"]["loss"]).all()


def test_report_tells_what_was_done(finetuned):
    report = finetuned.report
    assert (report.num_questions, report.num_left_out) == (31, 1)
    stages = ["answers", "positives", "retriever", "index", "words", "reader"]
    assert list(report.seconds) == stages
    assert min(report.seconds.values()) >= 0
    assert list(report.history) == ["retriever", "reader"]
    assert len(report.history["retriever"]["loss"]) == 2
    assert set(report.history["reader"]) == {
        "loss",
        "retrieval_loss",
        "reading_loss",
        "retrieval_answer_recall_at_5",
        "reading_exact_match",
        "reading_reader_oracle",
    }


def test_progress_is_called_for_every_step(finetuned):
    assert finetuned.steps("positives")[-1] == (10, 10)
    assert finetuned.steps("index")[-1] == (10, 10)
    # Ten blocks in batches of 5, twice; 31 questions in batches of 4, thrice.
    assert finetuned.steps("retriever") == [(i, 4) for i in range(1, 5)]
    assert finetuned.steps("reader") == [(i, 21) for i in range(1, 22)]
    assert "loss" in finetuned.calls[-1][3]


def test_callbacks_see_both_stages(finetuned):
    assert finetuned.epochs == [0, 1, 0, 1, 2]


def test_questions_are_answered_from_the_new_index(finetuned):
    assert finetuned.index_path.is_dir()
    qa = finetuned.qa
    assert qa.query_embedder is qa.block_embedder
    answer = qa.ask("when was paris founded?")
    assert answer.text == answer.block.text[answer.start : answer.end]
    assert qa.index.num_blocks == 10


def test_token_embeddings_stay_by_default(finetuned):
    qa = finetuned.qa
    for layer, before in zip(
        (qa.block_embedder, qa.reader), finetuned.tables, strict=True
    ):
        np.testing.assert_array_equal(table(layer), before)


def test_layers_can_be_trained_afterwards(finetuned):
    qa = finetuned.qa
    assert qa.block_embedder.backbone.token_embedding.trainable
    assert qa.block_embedder.trainable and qa.reader.trainable
    assert not qa.reader.backbone.pooled_dense.trainable


def test_token_embeddings_learn_on_request(
    make_qa, town_corpus, town_questions
):
    qa = make_qa(width=8)
    blocks, reader = table(qa.block_embedder), table(qa.reader)
    report = finetune(
        qa,
        town_corpus,
        town_questions,
        FinetuneOptions(
            retriever_epochs=0,
            batch_size=2,
            learning_rate=1e-2,
            train_query_embedder=True,
            train_token_embeddings=True,
        ),
    )
    assert list(report.history) == ["reader"]
    assert np.abs(table(qa.reader) - reader).max() > 1e-3
    assert np.abs(table(qa.query_embedder) - blocks).max() > 1e-3
    # The index holds what the embedder of blocks made: it stays.
    np.testing.assert_array_equal(table(qa.block_embedder), blocks)


def test_loss_that_is_no_number_is_refused(
    make_qa, town_corpus, town_questions
):
    qa = make_qa(width=8)
    bias = qa.block_embedder.projection.bias
    bias.assign(np.full(bias.shape, np.nan))
    with pytest.raises(ValueError, match="loss is nan at step 1 of the retr"):
        finetune(qa, town_corpus, town_questions)


@pytest.mark.parametrize(
    ("retriever_epochs", "match"),
    [
        (1, "retriever_batch_size=2, block_length="),
        (0, "batch_size=4, num_read=2, joint_length="),
    ],
)
def test_t11_full_device_names_the_sizes(
    retriever_epochs, match, make_qa, town_corpus, town_questions
):
    class Full(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    options = FinetuneOptions(
        retriever_epochs=retriever_epochs, retriever_batch_size=2, batch_size=4
    )
    with pytest.raises(MemoryError, match=match):
        finetune(
            make_qa(width=8),
            town_corpus,
            town_questions,
            options,
            callbacks=[Full()],
        )


@pytest.mark.parametrize(
    ("retriever_epochs", "message"),
    [(0, "must have an answer in the corpus"), (1, "at least 2 blocks")],
)
def test_no_answer_in_the_corpus_is_refused(
    retriever_epochs, message, make_qa, town_corpus
):
    options = FinetuneOptions(retriever_epochs=retriever_epochs)
    with pytest.raises(ValueError, match=message):
        finetune(make_qa(width=8), town_corpus, [NOWHERE], options)


@pytest.fixture
def four_questions(indexed_qa, town_corpus, town_questions):
    """One batch of four questions, always the same."""
    questions = town_questions[:4]
    return ReadingDataset(
        questions,
        AnswerLabels(town_corpus, questions, indexed_qa.featurizer),
        indexed_qa.index,
        indexed_qa.question_embedding,
        ReadingOptions(batch_size=4, num_read=2, num_retrieved=6),
    ).as_dataset()


def fit_one_step(make_qa, dataset, dtype="float32"):
    """The loss of one step, and the weights before and after it."""
    model = make_qa(width=8, dtype=dtype).model
    # In warm-up, the first step has the rate 0 and the second 1e-2.
    compile_open_qa(model, 1.0, num_train_steps=5)
    before = [np.array(weight) for weight in model.weights]
    twice = dataset.take(1).cache().repeat(2)
    loss = model.fit(twice, shuffle=False, verbose=0).history["loss"]
    return loss, before, [np.array(weight) for weight in model.weights]


def test_warmup_is_that_of_the_original(make_qa):
    model = make_qa(width=8).model
    for num_steps, num_warmup_steps in ((20, 100), (1573, 157), (2e5, 10_000)):
        compile_open_qa(model, 1e-2, num_train_steps=int(num_steps))
        schedule = model.optimizer._learning_rate
        assert schedule.num_warmup_steps == num_warmup_steps


def test_questions_without_answers_train_if_none_is_required(
    make_qa, town_corpus, town_questions
):
    options = FinetuneOptions(retriever_epochs=0, epochs=0)
    questions = [*town_questions, NOWHERE]
    report = finetune(make_qa(width=8), town_corpus, questions, options)
    assert report.num_left_out == 1
    options = dataclasses.replace(options, require_answer=False)
    report = finetune(make_qa(width=8), town_corpus, questions, options)
    assert report.num_left_out == 0


def test_two_replicas_step_like_one(make_qa, four_questions, strategy):
    # Both take the first batch of the same order.
    batch = four_questions.take(1).cache()
    loss, before, one = fit_one_step(make_qa, batch)
    with strategy.scope():
        loss_of_two, _, two = fit_one_step(make_qa, batch)
    np.testing.assert_allclose(loss_of_two, loss, rtol=1e-5)
    for expected, weight in zip(one, two, strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-4)
    steps = [np.abs(a - b).max() for a, b in zip(one, before, strict=True)]
    assert max(steps) > 1e-2


def test_t10_several_hosts_are_refused(town_corpus, monkeypatch):
    module = "realm_tf.training.finetuning"
    monkeypatch.setattr(f"{module}.is_multi_worker", lambda strategy: True)
    qa = types.SimpleNamespace(
        model=types.SimpleNamespace(distribute_strategy=None)
    )
    with pytest.raises(ValueError, match="must be used on one host"):
        finetune(qa, town_corpus, [])


def test_t9_unequal_parts_for_replicas_are_refused(
    make_qa, town_corpus, town_questions, strategy
):
    with strategy.scope():
        qa = make_qa(width=8)
        with pytest.raises(ValueError, match="batch_size=5, 2 replicas"):
            finetune(
                qa,
                town_corpus,
                town_questions,
                FinetuneOptions(retriever_batch_size=5),
            )


def test_half_precision_step_is_finite(make_qa, four_questions):
    loss, before, after = fit_one_step(
        make_qa, four_questions, "mixed_bfloat16"
    )
    assert np.isfinite(loss).all()
    assert all(np.isfinite(weight).all() for weight in after)
    steps = [np.abs(a - b).max() for a, b in zip(after, before, strict=True)]
    assert max(steps) > 1e-2


def test_a_marked_place_needs_no_search(
    make_qa, monkeypatch, short_featurizer, tmp_path
):
    """Two marks of one question lie in two blocks of its passage."""
    text = "The city of Bath is old. " * 9
    articles = [Article(str(i), "Bath", text) for i in range(2)]
    corpus = build_corpus(
        articles, tmp_path / "corpus", short_featurizer, max_wordpieces=48
    )
    assert corpus.num_blocks > 2
    starts = (text.index("Bath"), text.rindex("Bath"))
    questions = [
        Question(str(i), "which city is old?", ("Bath", "Bath"), str(i), starts)
        for i in range(2)
    ]
    monkeypatch.delattr(QuestionAnswerer, "search")
    report = finetune(
        make_qa(width=8),
        corpus,
        questions,
        options=FinetuneOptions(retriever_batch_size=2, num_read=1),
    )
    assert report.num_questions == 2


@pytest.mark.parametrize("with_validation", [False, True])
def test_the_weight_of_words_is_fitted_to_questions_that_are_not_learned(
    make_qa, town_corpus, town_questions, monkeypatch, with_validation
):
    fitted, learned = [], []

    def fit(qa, texts, labels, seed):
        fitted.extend(texts)
        assert len(labels) == len(texts)
        return 0.625

    def dataset(questions, positives, *arguments, **options):
        pairs = zip(questions, positives, strict=True)
        learned.append({q.question for q, block in pairs if block >= 0})
        return RetrieverDataset(questions, positives, *arguments, **options)

    monkeypatch.setattr(finetuning, "fit_lexical_weight", fit)
    monkeypatch.setattr(finetuning, "RetrieverDataset", dataset)
    asked = [
        dataclasses.replace(q, question=f"{q.question} {i}")
        for i in range(40)
        for q in town_questions
    ]
    qa = make_qa(width=8)
    finetune(
        qa,
        town_corpus,
        asked,
        FinetuneOptions(retriever_epochs=1, retriever_batch_size=2, epochs=0),
        validation_data=town_questions[:3] if with_validation else (),
    )
    assert qa.lexical_weight == 0.625
    if with_validation:
        assert fitted == [q.question for q in town_questions[:3]]
        assert len(learned[0]) == 400
    else:
        assert len(set(fitted)) == 20
        assert not learned[0] & set(fitted)
        assert len(learned[0]) == 380


def test_an_index_without_words_keeps_the_weight(
    make_qa, town_corpus, town_questions, monkeypatch
):
    qa = make_qa(width=8)
    monkeypatch.setattr(BlockIndex, "has_words", False)
    qa.lexical_weight = 0.0
    finetune(
        qa,
        town_corpus,
        town_questions,
        FinetuneOptions(retriever_epochs=0, epochs=0),
    )
    assert qa.lexical_weight == 0.0
