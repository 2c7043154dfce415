import keras_hub
import numpy as np
import pytest

from realm_tf.data.spans.entities import label_names
from realm_tf.errors import FolderError
from realm_tf.layers.token_classifier import TokenClassifier
from realm_tf.models.entity_tagger import EntityTagger


@pytest.fixture(scope="module")
def tagger(featurizer):
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=featurizer.vocabulary_size,
        num_layers=1,
        num_heads=2,
        hidden_dim=4,
        intermediate_dim=8,
        max_sequence_length=32,
    )
    labels = label_names(["PER"])
    tagger = EntityTagger(TokenClassifier(backbone, 3), featurizer, labels)
    rng = np.random.default_rng(0)
    for weight in tagger.classifier.weights:
        if weight.path.endswith(("kernel", "embeddings")):
            weight.assign(rng.normal(0, 1, weight.shape))
    return tagger


SENTENCES = ["Zoë was born in 1815.", "", "in the year " * 30, "paris"]


def test_spans_are_the_same_alone_and_together(tagger):
    together = tagger.tag(SENTENCES)
    assert together == [tagger.tag([s])[0] for s in SENTENCES]
    assert together[1] == []
    assert any(together)
    # What is beyond the trunk's length is not tagged.
    assert all(span.end <= 30 * 4 for span in together[2])
    assert tagger.tag([]) == []


def test_save_and_load(tagger, tmp_path):
    tagger.save(tmp_path / "tagger")
    copy = EntityTagger.load(tmp_path / "tagger", dtype="float32")
    assert copy.labels == tagger.labels
    assert copy.tag(SENTENCES) == tagger.tag(SENTENCES)
    with pytest.raises(FolderError, match="does not exist yet"):
        tagger.save(tmp_path / "tagger")


def test_damaged_folder_is_refused(tagger, tmp_path):
    tagger.save(tmp_path / "tagger")
    file = tmp_path / "tagger" / "weights.npz"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(FolderError, match="bytes"):
        EntityTagger.load(tmp_path / "tagger")
