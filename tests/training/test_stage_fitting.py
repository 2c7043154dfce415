import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from realm_tf.training.stage_fitting import (
    READER,
    RETRIEVER,
    StageFitting,
)


def rates(optimizer):
    stages = (RETRIEVER, READER)
    found = [StageFitting(optimizer).stage_optimizer(s) for s in stages]
    return [found and float(found.learning_rate) for found in found]


def test_no_optimizer_leaves_the_choice_to_the_stage():
    assert rates(None) == [None, None]


def test_each_stage_gets_a_copy_of_the_optimizer():
    given = keras.optimizers.SGD(0.5)
    fitting = StageFitting(given)
    copies = [fitting.stage_optimizer(s) for s in (RETRIEVER, READER)]
    assert len({id(optimizer) for optimizer in (given, *copies)}) == 3
    assert rates(given) == [0.5, 0.5]
    assert rates("sgd") == rates(keras.optimizers.SGD())
    assert rates(keras.optimizers.serialize(given)) == [0.5, 0.5]


def test_stages_can_have_optimizers_of_their_own():
    sgd = keras.optimizers.SGD(0.5)
    assert rates({READER: sgd}) == [None, 0.5]
    assert rates({RETRIEVER: sgd, READER: None}) == [0.5, None]


def test_optimizers_of_other_stages_are_refused():
    with pytest.raises(ValueError, match="keys retriever, reader.*'index'"):
        StageFitting({"index": "sgd"})


def test_unknown_optimizers_are_refused():
    with pytest.raises(ValueError, match="nonsense"):
        StageFitting("nonsense")


def test_progress_of_the_caller_takes_the_place_of_the_display(capsys):
    calls = []
    fitting = StageFitting(verbose=1, progress=lambda *call: calls.append(call))
    fitting.begin("index")("index", 1, 4, {})
    fitting.begin(READER)(READER, 2, 4, {"loss": 1.0})
    assert calls == [("index", 1, 4, {}), ("reader", 2, 4, {"loss": 1.0})]
    assert capsys.readouterr().out == ""


def test_stages_are_named_and_the_index_has_a_bar(capsys):
    StageFitting(verbose=0).begin("index")("index", 4, 4, {})
    assert capsys.readouterr().out == ""
    StageFitting(verbose="auto").begin("index")("index", 4, 4, {})
    out = capsys.readouterr().out
    assert out.startswith("Embedding the corpus\n") and "4/4" in out
    StageFitting(verbose=2).begin(READER)(READER, 4, 4, {})
    assert capsys.readouterr().out == "Training the reader\n"


class Data:
    """Two batches of one number each."""

    num_batches = 2

    def __init__(self):
        self.begun = []

    def begin(self, epoch):
        self.begun.append(epoch)

    def as_dataset(self):
        pair = (np.ones((4, 1), "float32"), np.ones((4, 1), "float32"))
        return tf.data.Dataset.from_tensor_slices(pair).batch(2)


def fit(fitting, **options):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    return fitting.fit(READER, model, Data(), **options)


def test_fit_returns_the_figures_of_each_epoch(capsys):
    calls, seen = [], []
    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(sorted(logs))
    )
    fitting = StageFitting(
        callbacks=[callback], progress=lambda *call: calls.append(call[:3])
    )
    validation = Data()
    found = fit(fitting, validation_data=validation, epochs=2)
    assert validation.begun == [0, 1]
    assert {name: len(values) for name, values in found.items()} == {
        "loss": 2,
        "val_loss": 2,
    }
    assert seen == [["loss", "val_loss"]] * 2
    assert calls == [("reader", i, 4) for i in range(1, 5)]
    assert capsys.readouterr().out == ""
    assert list(fit(fitting, validation_data=None, epochs=1)) == ["loss"]
    fit(StageFitting(verbose=2), validation_data=None, epochs=1)
    assert "2/2" in capsys.readouterr().out


def test_fit_stops_at_a_loss_that_is_no_number(monkeypatch):
    bad = types.SimpleNamespace(
        num_batches=2,
        begin=lambda epoch: None,
        as_dataset=lambda: Data().as_dataset().map(lambda x, y: (x / 0, y)),
    )
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    with pytest.raises(ValueError, match="loss is (nan|inf) at step 1 of the"):
        StageFitting().fit(READER, model, bad, None, 1)
