import types

import keras
import numpy as np
import pytest

from realm_tf.data.spans.date_number_tagger import DateNumberTagger
from realm_tf.data.spans.salient_spans import default_path, tag_corpus
from realm_tf.data.spans.sentence_masks import (
    RandomSpanMasks,
    RandomTokenMasks,
    SalientSpanMasks,
)
from realm_tf.models.realm_pretrainer import RealmPretrainer
from realm_tf.optimizers.bert_adamw import BertAdamW
from realm_tf.options import MaskedSentenceOptions
from realm_tf.training import pretraining_tasks
from realm_tf.training.datasets.masked_sentence_dataset import (
    MaskedSentenceDataset,
)
from realm_tf.training.pretraining_stages import new_encoder
from realm_tf.training.pretraining_tasks import pretrain_task
from realm_tf.training.refresh.fixed_index import FixedIndex

SHORT = {"num_steps": 4, "num_warmup_steps": 0, "log_every": 2}


def test_each_task_trains_and_tells_what_was_logged(
    make_qa, town_corpus, tmp_path
):
    qa = make_qa(width=8)
    kernel = np.array(qa.block_embedder.projection.kernel)
    history = pretrain_task(
        qa,
        town_corpus,
        tmp_path / "ict",
        "inverse_cloze",
        batch_size=8,
        **SHORT,
    )
    assert isinstance(history, keras.callbacks.History)
    assert history.epoch == history.history["step"] == [2, 4]
    assert np.isfinite(history.history["loss"]).all()
    assert np.abs(np.array(qa.block_embedder.projection.kernel) - kernel).max()
    seen = []
    callback = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch)
    )
    history = pretrain_task(
        qa,
        town_corpus,
        tmp_path / "mlm",
        "masked_words",
        batch_size=4,
        num_candidates=3,
        query_length=24,
        every_n_steps=2,
        callbacks=[callback],
        **SHORT,
    )
    assert history.epoch == [2, 4]
    assert "retrieval_utility" in history.history
    assert len(seen) == 4
    # The dates of the towns were tagged for it.
    assert (tmp_path / "mlm" / "spans").is_dir()


@pytest.fixture
def calls(monkeypatch):
    """What the two stages would be called with."""
    calls = []
    for name in ("pretrain_inverse_cloze", "pretrain_masked_words"):
        monkeypatch.setattr(
            pretraining_tasks,
            name,
            lambda *given, **options: calls.append((given, options)),
        )
    return calls


def test_options_find_their_places(calls, town_corpus, tmp_path):
    pretrain_task(
        types.SimpleNamespace(),
        town_corpus,
        tmp_path,
        "inverse_cloze",
        num_steps=7,
        mask_rate=0.5,
        chunk_size=3,
    )
    (*_, training, data), options = calls.pop()
    assert (training.num_steps, training.learning_rate) == (7, 1e-4)
    assert data.mask_rate == 0.5
    assert options == {"chunk_size": 3}
    pretrain_task(
        types.SimpleNamespace(),
        town_corpus,
        tmp_path,
        "masked_words",
        masks="random-spans",
        max_masks=3,
        marginalize="example",
    )
    (_, _, masks, _, training, data), options = calls.pop()
    assert isinstance(masks, RandomSpanMasks)
    assert training.learning_rate == 3e-5
    assert data.max_masks == 3
    assert options == {"marginalize": "example"}


def test_masks_can_be_given_in_every_form(calls, town_corpus, tmp_path):
    def masks(**options):
        pretrain_task(
            types.SimpleNamespace(),
            town_corpus,
            tmp_path,
            "masked_words",
            **options,
        )
        return calls.pop()[0][2]

    given = RandomTokenMasks()
    assert masks(masks=given) is given
    own = masks()
    assert isinstance(own, SalientSpanMasks)
    assert masks().description == own.description  # tagged once
    spans = tag_corpus(
        town_corpus, DateNumberTagger(), default_path(town_corpus.path)
    )
    try:
        assert masks().spans.path == spans.path
    finally:
        (spans.path).rename(tmp_path / "gone")


def test_unknown_tasks_and_options_are_refused(make_qa, town_corpus, tmp_path):
    with pytest.raises(ValueError, match="`task` must be one of.*'mlm'"):
        pretrain_task(None, town_corpus, tmp_path, "mlm")
    with pytest.raises(TypeError, match="max_masks"):
        pretrain_task(
            make_qa(), town_corpus, tmp_path, "inverse_cloze", max_masks=3
        )


def test_pretrainer_fits_the_dataset_itself(make_qa, town_corpus):
    """The example of `RealmPretrainer`."""
    qa = make_qa(width=8)
    index = qa.build_index(town_corpus)
    data = MaskedSentenceDataset(
        index.corpus,
        RandomSpanMasks(),
        FixedIndex(qa),
        qa.featurizer,
        MaskedSentenceOptions(batch_size=4, num_candidates=3, query_length=24),
    )
    assert data.steps_per_epoch == 2  # of ten blocks
    model = RealmPretrainer(qa.block_embedder, new_encoder(qa, index.corpus))
    model.compile(optimizer=BertAdamW(1e-2))
    history = model.fit(data, epochs=3, verbose=0)
    assert len(history.history["loss"]) == 3
    assert np.isfinite(history.history["loss"]).all()
    assert model.optimizer.iterations == 6
