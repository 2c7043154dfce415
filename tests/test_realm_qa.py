import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from realm_tf import realm_qa
from realm_tf.checkpoints.named_presets import register_preset
from realm_tf.evaluation.calibration import Calibration
from realm_tf.evaluation.evaluator import evaluate
from realm_tf.options import ExportOptions, FinetuneOptions
from realm_tf.realm_qa import RealmQA


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_model_starts_from_a_bert_folder(tiny_bert, pooling, tmp_path):
    folder = tiny_bert
    if pooling == "mean":
        folder = sentence_transformer(tiny_bert, tmp_path / "st")
    qa = RealmQA.from_preset(
        folder,
        embedding_dim=3,
        query_length=16,
        block_length=48,
        joint_length=80,
    )
    assert qa.query_embedder is qa.block_embedder
    assert qa.block_embedder.pooling == pooling
    assert qa.block_embedder.embedding_dim == 3
    assert (qa.block_embedder.layer_norm is None) == (pooling == "mean")
    assert qa.projection_fitted == (pooling == "cls")
    # Both trunks have the weights of the folder, and are two.
    tables = [
        part.backbone.token_embedding.embeddings
        for part in (qa.query_embedder, qa.reader)
    ]
    assert tables[0] is not tables[1]
    np.testing.assert_array_equal(*tables)
    qa.build_index(["Lima is a city.", "Nice is a city too."])
    assert qa.projection_fitted
    assert qa.ask("what is a city?").text


def sentence_transformer(bert, folder):
    (folder / "1_Pooling").mkdir(parents=True)
    for file in bert.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "1_Pooling" / "config.json").write_text(
        '{"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}'
    )
    return folder


def test_projection_is_fitted_once(tiny_bert, tmp_path):
    folder = sentence_transformer(tiny_bert, tmp_path / "st")
    qa = RealmQA.from_preset(folder, embedding_dim=3)
    qa.build_index(["Lima is a city.", "Nice is a city too."])
    kernel = qa.block_embedder.projection.kernel.numpy()
    qa.build_index(["The sea is blue.", "A river is long and old."])
    np.testing.assert_array_equal(qa.block_embedder.projection.kernel, kernel)


def test_sentence_encoder_can_index_a_single_text(tiny_bert, tmp_path):
    folder = sentence_transformer(tiny_bert, tmp_path / "st")
    qa = RealmQA.from_preset(folder, embedding_dim=3)
    qa.build_index(["Lima is a city."])
    assert qa.ask("what is it?").blocks


def test_summary_is_printed(qa, capsys):
    assert qa.summary() is None
    assert "exact" in capsys.readouterr().out
    lines = []
    qa.summary(print_fn=lines.append)
    assert "exact" in lines[0]
    assert capsys.readouterr().out == ""


def test_export_passes_options_on(qa, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(realm_qa, "export", lambda *given: calls.append(given))
    qa.export(tmp_path, models=("reader",), num_answers=2)
    options = ExportOptions(models=("realm_reader",), num_answers=2)
    ((parts, *others),) = calls
    assert parts.reader is qa.reader
    assert others == [qa.index, tmp_path, options]


def test_presets_are_listed_and_loaded_by_name(registry, own_index, tmp_path):
    own_index.save_to_preset(tmp_path / "preset", include_corpus=True)
    register_preset("realm_cities", "On cities.", tmp_path / "preset")
    assert RealmQA.presets["realm_cities"].description == "On cities."
    qa = RealmQA.from_preset("realm_cities")
    assert qa.index.num_blocks == own_index.index.num_blocks
    with pytest.raises(ValueError, match="Names: .*realm_cities"):
        RealmQA.from_preset("realm_towns")


# Training: Keras' words, in whatever form the questions come.

PAIRS = [
    ("When was the school of Paris founded?", "1163"),
    ("When was the school of Rome founded?", ["1506"]),
    ("In which country is Oslo?", "Norway"),
]


def weights(layer):
    return [np.array(weight) for weight in layer.weights]


def differ(before, after):
    return any((a != b).any() for a, b in zip(before, after, strict=True))


class Fitted:
    """Both stages, of a model that had no index."""

    def __init__(self, qa, corpus, questions, index_path):
        self.qa = qa
        self.index_path = index_path
        self.epochs = []
        callback = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: self.epochs.append(sorted(logs))
        )
        self.history = qa.fit(
            questions,
            corpus,
            validation_data=PAIRS,
            epochs=3,
            batch_size=4,
            options=FinetuneOptions(
                retriever_epochs=2,
                retriever_batch_size=4,
                learning_rate=2e-2,
                num_retrieved=6,
            ),
            index_path=index_path,
            callbacks=[callback],
            verbose=0,
        )


@pytest.fixture(scope="module")
def fitted(make_qa, city_corpus, city_questions, tmp_path_factory):
    path = tmp_path_factory.mktemp("fitted") / "index"
    return Fitted(make_qa(width=8), city_corpus, city_questions, path)


def test_fit_returns_a_history_of_both_stages(fitted):
    history = fitted.history
    assert isinstance(history, keras.callbacks.History)
    lengths = {name: len(values) for name, values in history.history.items()}
    reader = (
        "loss",
        "retrieval_loss",
        "reading_loss",
        "retrieval_answer_recall_at_5",
        "reading_exact_match",
        "reading_reader_oracle",
    )
    assert lengths == {
        **dict.fromkeys(["retriever_loss", "val_retriever_loss"], 2),
        **{f"reader_{name}": 3 for name in reader},
        **{f"val_reader_{name}": 3 for name in reader},
    }
    assert history.epoch == [0, 1, 2]
    assert all(np.isfinite(values).all() for values in history.history.values())
    loss = history.history["reader_reading_loss"]
    assert loss[-1] < loss[0]
    assert history.report.num_questions == 30


def test_callbacks_see_the_names_of_the_stage(fitted):
    assert len(fitted.epochs) == 5
    assert fitted.epochs[0] == ["loss", "val_loss"]
    assert {"loss", "val_loss", "val_reading_exact_match"} < set(
        fitted.epochs[-1]
    )


def test_questions_are_answered_after_fit(fitted):
    assert fitted.index_path.is_dir()
    assert fitted.qa.index.path == fitted.index_path
    assert fitted.qa.ask(PAIRS[0][0]).text


READER_ONLY = FinetuneOptions(retriever_epochs=0, num_retrieved=6)


def test_fit_goes_to_the_corpus_of_the_index(make_qa, capsys):
    qa = make_qa(width=8)
    with pytest.raises(ValueError, match="There must be an index"):
        qa.fit(PAIRS)
    qa.build_index(["Paris was founded in 1163.", "Oslo is in Norway."])
    index = qa.index
    history = qa.fit(PAIRS, options=READER_ONLY)
    out = capsys.readouterr().out
    assert qa.index is index and "Embedding" not in out  # blocks stay the same
    assert "Training the reader\n" in out and "1/1" in out
    assert history.report.num_left_out == 1
    assert qa.ask("where is oslo?").block.text in (
        "Paris was founded in 1163.",
        "Oslo is in Norway.",
    )
    qa.add_documents([{"id": "lima", "text": "Lima is a city."}])
    with pytest.raises(ValueError, match="added or deleted since"):
        qa.fit(PAIRS)


def test_fit_takes_documents_and_paths(make_qa, tmp_path):
    articles = tmp_path / "articles.jsonl"
    articles.write_text('{"id": "1", "text": "Paris was founded in 1163."}\n')
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"question": "When?", "answer": ["1163"]}\n')
    qa = make_qa(width=8)
    data = tf.data.Dataset.from_tensor_slices((["When?"], ["1163"]))
    for asked in (questions, data):
        history = qa.fit(asked, articles, options=READER_ONLY, verbose=0)
        assert history.report.num_questions == 1
    assert qa.index.corpus[0].document_id == "1"


def test_optimizer_is_that_of_compile(make_qa, city_corpus, city_questions):
    qa = make_qa(width=8)
    qa.compile({"retriever": keras.optimizers.SGD(0.0)}, jit_compile=False)
    options = FinetuneOptions(
        retriever_epochs=2,
        retriever_batch_size=4,
        learning_rate=1e-1,
        num_retrieved=6,
    )
    embedder, reader = weights(qa.block_embedder), weights(qa.reader)
    figures = qa.fit(
        city_questions,
        city_corpus,
        validation_data=city_questions[:7],
        options=options,
        verbose=0,
    ).history
    assert not differ(embedder, weights(qa.block_embedder))
    assert differ(reader, weights(qa.reader))
    # Nothing was learnt, and what is validated on stays the same.
    before, after = figures["val_retriever_loss"]
    assert before == pytest.approx(after, rel=1e-6)
    reader = weights(qa.reader)
    qa.compile(keras.optimizers.SGD(0.0))
    options = dataclasses.replace(options, retriever_epochs=0, epochs=2)
    figures = qa.fit(
        city_questions,
        validation_data=city_questions[:7],
        options=options,
        verbose=0,
    ).history
    assert not differ(reader, weights(qa.reader))
    for name, (before, after) in figures.items():
        if name.startswith("val_"):
            assert before == pytest.approx(after, rel=1e-5)


def test_jit_compile_reaches_the_stages(make_qa, city_corpus, monkeypatch):
    seen = []
    compile = keras.Model.compile

    def spy(self, *args, **options):
        seen.append(options.get("jit_compile"))
        compile(self, *args, **options)

    monkeypatch.setattr(keras.Model, "compile", spy)
    qa = make_qa(width=8)
    for setting in (True, False):
        qa.compile(jit_compile=setting)
        options = dataclasses.replace(READER_ONLY, epochs=0)
        qa.fit(PAIRS, city_corpus, options=options, verbose=0)
        assert seen.pop() is setting


def test_compile_refuses_optimizers_of_other_stages(qa):
    with pytest.raises(ValueError, match="'index'"):
        qa.compile({"index": "sgd"})


def test_model_is_moved_to_a_strategy(make_qa, city_corpus, strategy):
    qa = make_qa(width=8)
    options = dataclasses.replace(READER_ONLY, batch_size=2)
    qa.fit(PAIRS, city_corpus, options=options, strategy=strategy, verbose=0)
    assert qa.model.distribute_strategy is strategy
    assert qa.ask(PAIRS[0][0]).text


# Evaluation.


def test_evaluate_returns_the_scores(qa, city_questions, capsys):
    scores = qa.evaluate(city_questions[:5], verbose=0)
    assert capsys.readouterr().out == ""
    expected = evaluate(
        lambda texts: qa.predict(texts, num_retrieved=20),
        city_questions[:5],
    )
    assert scores == expected.to_json()
    assert {"exact_match", "f1", "answer_recall_at_5"} <= scores.keys()


def test_evaluate_shows_its_progress(qa, city_questions, capsys):
    qa.evaluate(city_questions[:5], batch_size=2)
    out = capsys.readouterr().out
    assert "2/5" in out and "5/5" in out
    calls = []
    qa.evaluate(
        city_questions[:5],
        batch_size=2,
        progress=lambda *call: calls.append(call),
    )
    assert calls == [("questions", done, 5, {}) for done in (2, 4, 5)]
    assert capsys.readouterr().out == ""


def test_evaluate_can_return_the_report(qa, city_questions):
    report = qa.evaluate(
        PAIRS, num_read=1, ks=(1, 2), verbose=0, return_dict=False
    )
    assert list(report.answer_recall_at_k) == [1, 2]
    assert len(report.scores) == 3


def test_evaluate_retrieval_scores_the_search(qa, city_questions, capsys):
    before = qa.lexical_weight
    qa.lexical_weight = 0.5
    try:
        scores = qa.evaluate_retrieval(
            city_questions[:5], ks=(1, 5), batch_size=2, verbose=0
        )
        report = qa.evaluate_retrieval(
            city_questions[:5], features=["both"], return_dict=False
        )
        found = qa.search([city_questions[0].question], 1)
    finally:
        qa.lexical_weight = before
    assert list(scores) == ["embeddings", "words", "both"]
    assert scores["words"]["recall_at_5"] > 0
    assert "recall_at_20" not in scores["words"]
    assert "5/5" in capsys.readouterr().out
    assert list(report.runs) == ["both"]
    best = max(report.runs["both"][city_questions[0].question_id].values())
    assert best == pytest.approx(float(found.scores[0, 0]), rel=1e-5)


def test_evaluate_retrieval_needs_passages(qa):
    with pytest.raises(ValueError, match="must have known passages"):
        qa.evaluate_retrieval(PAIRS, verbose=0)


def test_calibration_is_kept_until_training(
    make_qa, city_corpus, city_questions, tmp_path
):
    qa = make_qa()
    qa.build_index(city_corpus)
    right = qa.ask(city_questions[0].question).text
    asked = [(q.question, right) for q in city_questions] + [("who?", [])]
    report = qa.calibrate(asked, num_read=2, verbose=0)
    assert qa.calibration == report.calibration != Calibration()
    assert len(report.after.probabilities) == len(asked)
    answer = qa.ask("who?")
    assert answer.threshold == report.calibration.threshold
    qa.save_to_preset(tmp_path / "preset", include_corpus=True)
    again = RealmQA.from_preset(tmp_path / "preset")
    assert again.calibration == report.calibration
    assert again.ask("who?").probability == pytest.approx(answer.probability)
    again.separate_embedders()
    assert again.calibration == report.calibration
    options = FinetuneOptions(retriever_epochs=0, epochs=1, num_read=1)
    again.fit(city_questions[:4], options=options, verbose=0)
    assert again.calibration == Calibration()


def test_number_of_blocks_that_are_read_can_be_chosen(qa, monkeypatch):
    seen = []
    predict = qa.predict
    monkeypatch.setattr(
        qa, "predict", lambda x, **o: seen.append(o) or predict(x, **o)
    )
    qa.evaluate(PAIRS, verbose=0)
    qa.evaluate(PAIRS, num_read=2, ks=(1,), verbose=0)
    assert [options["num_read"] for options in seen] == [5, 2]
    assert [options["num_retrieved"] for options in seen] == [20, 2]


# Pre-training.


def test_pretraining_needs_no_questions(make_qa, tmp_path, capsys, cities):
    qa = make_qa(width=8)
    options = {"num_steps": 2, "num_warmup_steps": 0, "batch_size": 4}
    qa.build_index(cities)
    history = qa.pretrain(cities, tmp_path / "ict", "inverse_cloze", **options)
    assert history.epoch == [2]
    assert "2/2" in capsys.readouterr().out
    assert qa.index is None  # another embedder made it
    qa.pretrain(
        cities,
        tmp_path / "mlm",
        "masked_words",
        verbose=0,
        num_candidates=3,
        query_length=24,
        **options,
    )
    assert capsys.readouterr().out == ""
    assert qa.encoder is not None
    calls = []
    again = qa.pretrain(
        cities,
        tmp_path / "ict",
        "inverse_cloze",
        progress=lambda *call: calls.append(call),
        **options,
    )
    assert again.epoch == [2] and not calls  # all steps had been done
