import dataclasses

import keras
import numpy as np
import pytest

from realm_tf.data.spans.sentence_masks import RandomSpanMasks, RandomTokenMasks
from realm_tf.errors import MismatchError
from realm_tf.options import (
    InverseClozeOptions,
    MaskedSentenceOptions,
    TrainingOptions,
)
from realm_tf.realm_qa import RealmQA
from realm_tf.training import pretraining_stages
from realm_tf.training.pretraining import read_log
from realm_tf.training.pretraining_stages import (
    new_encoder,
    pretrain_inverse_cloze,
    pretrain_masked_words,
)
from realm_tf.training.refresh.exchange import Exchange


def training(steps, rate=1e-2):
    return TrainingOptions(
        num_steps=steps,
        learning_rate=rate,
        num_warmup_steps=0,
        checkpoint_every=2,
        log_every=1,
    )


def test_inverse_cloze_lowers_its_loss(make_qa, town_corpus, tmp_path):
    qa = make_qa(width=8)
    model = pretrain_inverse_cloze(
        qa,
        town_corpus,
        tmp_path,
        training(12),
        InverseClozeOptions(batch_size=8, run_length=2),
    )
    assert model.embedder is qa.block_embedder
    losses = [line["loss"] for line in read_log(tmp_path)]
    assert len(losses) == 12
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


MASKED = MaskedSentenceOptions(batch_size=4, num_candidates=3, query_length=24)


def pretrain(qa, corpus, folder, steps=6, **options):
    return pretrain_masked_words(
        qa,
        corpus,
        RandomTokenMasks(),
        folder,
        training(steps),
        MASKED,
        every_n_steps=2,
        **options,
    )


def test_training_may_be_shorter_than_the_index(
    make_qa, town_corpus, tmp_path, monkeypatch
):
    seen = []
    monkeypatch.setattr(
        pretraining_stages,
        "pretrain",
        lambda model, data, *args, **options: seen.append(data.signature),
    )
    qa = make_qa(width=8)
    pretrain_inverse_cloze(
        qa,
        town_corpus,
        tmp_path / "ict",
        data=InverseClozeOptions(batch_size=8, trim=False),
        query_length=9,
        block_length=20,
    )
    pretrain_masked_words(
        qa,
        town_corpus,
        RandomTokenMasks(),
        tmp_path / "mlm",
        data=dataclasses.replace(MASKED, trim=False),
        block_length=20,
    )
    ict, masked = seen
    assert ict["query_token_ids"].shape == (8, 9)
    assert ict["block_token_ids"].shape == (8, 20)
    assert masked["candidate_token_ids"].shape == (4, 3, 20)
    assert masked["joint_token_ids"].shape == (4, 3, 44)
    assert qa.featurizer.block_length == 48


def test_masked_words_may_be_checkpointed(
    make_qa, town_corpus, tmp_path, monkeypatch
):
    seen = []
    monkeypatch.setattr(
        pretraining_stages,
        "pretrain",
        lambda model, *args, **options: seen.append(model),
    )
    qa = make_qa(width=8)
    for is_checkpointed in (False, True):
        pretrain(
            qa,
            town_corpus,
            tmp_path,
            gradient_checkpointing=is_checkpointed,
        )
    assert [m.gradient_checkpointing for m in seen] == [False, True]


def test_new_head_begins_with_the_frequencies_of_the_text(
    make_qa, town_corpus, monkeypatch
):
    qa = make_qa(width=8)
    counts = np.ones(qa.featurizer.vocabulary_size)
    for i in range(town_corpus.num_blocks):
        np.add.at(counts, np.asarray(town_corpus.token_ids(i)), 1)
    head = new_encoder(qa, town_corpus).masked_lm_head
    (bias,) = [w for w in head.weights if w.shape == counts.shape]
    np.testing.assert_allclose(bias, np.log(counts / counts.sum()), rtol=1e-5)
    # Of a large corpus, blocks from its first to its last.
    monkeypatch.setattr(pretraining_stages, "_MOST_COUNTED", 2)
    seen = []
    monkeypatch.setattr(
        type(town_corpus),
        "token_ids",
        lambda corpus, i: seen.append(i) or np.zeros(1, int),
    )
    new_encoder(qa, town_corpus)
    assert seen == [0, 9]


@pytest.mark.parametrize("separate", [False, True])
def test_t1_masked_words_go_on_with_index_and_weights(
    make_qa, town_corpus, town_questions, tmp_path, separate
):
    # The head of the encoder begins at random, and dropout goes on so.
    keras.utils.set_random_seed(1)
    whole = make_qa(width=8, dropout=0.1, separate=separate)
    pretrain(whole, town_corpus, tmp_path / "whole", probe=town_questions)
    expected = read_log(tmp_path / "whole")
    ages = [line["index_age"] for line in expected]
    assert ages == [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]
    assert {"retrieval_utility", "null_probability", "recall_at_5"} <= set(
        expected[0]
    )

    class Stop(Exception):
        pass

    def stop(stage, done, total, figures):
        if done == 5:
            raise Stop

    # Step 5 is after the checkpoint and the index of step 4.
    keras.utils.set_random_seed(1)
    killed = make_qa(width=8, dropout=0.1, separate=separate)
    with pytest.raises(Stop):
        pretrain(
            killed,
            town_corpus,
            tmp_path / "killed",
            probe=town_questions,
            progress=stop,
        )
    keras.utils.set_random_seed(2)
    resumed = make_qa(width=8, dropout=0.1, separate=separate, seed=7)
    pretrain(resumed, town_corpus, tmp_path / "killed", probe=town_questions)
    for one, other in zip(read_log(tmp_path / "killed"), expected, strict=True):
        del one["steps_per_second"], other["steps_per_second"]
        assert one == other
    for part in ("query_embedder", "block_embedder", "reader", "encoder"):
        for one, other in zip(
            getattr(resumed, part).backbone.get_weights(),
            getattr(whole, part).backbone.get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)


def test_folder_of_other_data_is_refused(
    make_qa, town_corpus, city_corpus, tmp_path
):
    qa = make_qa(width=8)
    data = InverseClozeOptions(batch_size=2)
    pretrain_inverse_cloze(qa, town_corpus, tmp_path / "ict", training(2), data)
    with pytest.raises(MismatchError, match=r"corpus='\w+' \(there: '\w+'\)"):
        pretrain_inverse_cloze(
            qa, city_corpus, tmp_path / "ict", training(2), data
        )
    pretrain(qa, town_corpus, tmp_path / "mlm", steps=2)
    with pytest.raises(MismatchError, match="masks='RandomSpanMasks'"):
        pretrain_masked_words(
            qa,
            town_corpus,
            RandomSpanMasks(),
            tmp_path / "mlm",
            training(2),
            MASKED,
            every_n_steps=2,
        )


def test_masked_words_on_two_devices(make_qa, town_corpus, tmp_path, strategy):
    with strategy.scope():
        qa = make_qa(width=8)
    pretrain(qa, town_corpus, tmp_path, steps=4, strategy=strategy)
    ages = [line["index_age"] for line in read_log(tmp_path)]
    assert ages == [0.0, 1.0, 0.0, 1.0]


def test_timeout_is_for_other_processes(make_qa, town_corpus, tmp_path):
    pretrain(make_qa(width=8), town_corpus, tmp_path, steps=4, timeout=1e-3)
    assert len(read_log(tmp_path)) == 4


@pytest.mark.parametrize(
    ("mode", "options", "message"),
    [
        ("background", {"searcher": "auto", "scann": 1}, "'background', scann"),
        ("external", {"searcher": "auto"}, "'external', searcher"),
    ],
)
def test_index_options_that_do_not_reach_the_refresher_are_refused(
    make_qa, town_corpus, tmp_path, mode, options, message
):
    with pytest.raises(ValueError, match=message):
        pretrain(
            make_qa(width=8),
            town_corpus,
            tmp_path,
            mode=mode,
            index_options=options,
        )


def test_the_encoder_goes_on_from_a_preset(make_qa, town_corpus, tmp_path):
    qa = make_qa(width=8)
    pretrain(qa, town_corpus, tmp_path / "first", steps=2)
    qa.save_to_preset(tmp_path / "preset")
    loaded = RealmQA.from_preset(tmp_path / "preset")
    equal = np.testing.assert_array_equal
    for part in (loaded.encoder.backbone, loaded.reader.backbone):
        for one, other in zip(
            part.get_weights(), qa.encoder.backbone.get_weights(), strict=True
        ):
            equal(one, other)
    equal(
        loaded.encoder.masked_lm_head.get_weights()[0],
        qa.encoder.masked_lm_head.get_weights()[0],
    )
    model = pretrain(loaded, town_corpus, tmp_path / "second", steps=2)
    assert model.encoder is loaded.encoder


def test_null_block_alone_needs_no_index(make_qa, town_corpus, tmp_path):
    qa = make_qa(width=8)
    embedder = qa.query_embedder.get_weights()
    encoder = new_encoder(qa, town_corpus).get_weights()
    data = dataclasses.replace(MASKED, num_candidates=1)
    arguments = (qa, town_corpus, RandomTokenMasks(), tmp_path)
    pretrain_masked_words(*arguments, training(2), data, every_n_steps=1)
    assert not (tmp_path / "exchange").exists()
    for old, new in zip(embedder, qa.query_embedder.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    assert (qa.encoder.get_weights()[0] != encoder[0]).any()
    assert qa.query_embedder.trainable_weights
    with pytest.raises(ValueError, match="`probe` must be empty"):
        pretrain_masked_words(*arguments, data=data, probe=[None])


def test_frozen_retriever_has_one_index(make_qa, town_corpus, tmp_path):
    qa = make_qa(width=8)
    embedder = qa.query_embedder.get_weights()
    pretrain(
        qa,
        town_corpus,
        tmp_path,
        steps=4,
        train_retriever=False,
        max_staleness_steps=1,
    )
    assert Exchange(tmp_path / "exchange").index_steps() == {1: 0}
    for old, new in zip(embedder, qa.query_embedder.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    assert qa.query_embedder.trainable_weights


def test_finished_run_tells_refreshers_again(make_qa, town_corpus, tmp_path):
    for _ in range(2):
        pretrain(make_qa(width=8), town_corpus, tmp_path, steps=2)
        assert Exchange(tmp_path / "exchange").is_done
