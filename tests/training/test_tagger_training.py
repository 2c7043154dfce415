import keras_hub
import pytest

from realm_tf.data.spans.entities import EntitySentence
from realm_tf.data.spans.salient_span import SalientSpan
from realm_tf.options import TaggerOptions
from realm_tf.training.tagger_training import evaluate_tagger, train_tagger

NAMES = ("paris", "london", "rome", "berlin")


def sentence(name, word):
    text = f"in {name} {word}"
    return EntitySentence(text, (SalientSpan(3, 3 + len(name), "LOC"),))


TRAIN = [sentence(name, word) for name in NAMES for word in ("was", "is", "in")]


def make_backbone(featurizer):
    return keras_hub.models.BertBackbone(
        vocabulary_size=featurizer.vocabulary_size,
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=16,
        dropout=0.0,
    )


def test_tagger_learns_names(featurizer):
    calls = []
    tagger = train_tagger(
        make_backbone(featurizer),
        featurizer,
        TRAIN,
        TaggerOptions(epochs=40, batch_size=6, learning_rate=2e-2),
        progress=lambda *call: calls.append(call),
    )
    test = [sentence(name, "the") for name in NAMES]
    scores = evaluate_tagger(tagger, test)
    assert scores["f1"] > 0.9
    assert scores["num_entities"] == 4
    assert calls[-1][:3] == ("tagger", 80, 80)
    assert calls[-1][3]["loss"] < calls[0][3]["loss"]


def test_nothing_to_learn_from_is_refused(featurizer):
    with pytest.raises(ValueError, match="Received: none"):
        train_tagger(make_backbone(featurizer), featurizer, [])
