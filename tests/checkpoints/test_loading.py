import pytest

from realm_tf.checkpoints.loading import combine, load
from realm_tf.errors import CheckpointError


@pytest.fixture
def checkpoints(release, tmp_path):
    return {
        name: load(release.write_hugging_face(tmp_path / name, name))
        for name in ("embedder", "encoder", "openqa")
    }


def test_a_format_can_be_forced(release, tmp_path):
    folder = release.write_hugging_face(tmp_path / "x", "reader")
    assert load(folder, format="hugging_face").format == "RealmReader"
    with pytest.raises(CheckpointError, match="must hold a TensorFlow check"):
        load(folder, format="tf1")
    with pytest.raises(ValueError, match="`format` must be one of"):
        load(folder, format="onnx")


def test_something_else_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="in a published layout"):
        load(tmp_path)


def test_one_checkpoint_stays_as_it_is(checkpoints):
    one = checkpoints["openqa"]
    combined = combine([one])
    assert combined.parts.layers == one.parts.layers
    assert combined.used == one.used


def test_an_embedder_and_an_encoder_get_a_reader(checkpoints):
    combined = combine([checkpoints["embedder"], checkpoints["encoder"]])
    parts = combined.parts
    assert list(parts.layers) == ["query_embedder", "reader", "encoder"]
    assert parts.block_embedder is parts.query_embedder
    assert parts.reader.backbone is not parts.encoder.backbone
    assert "reader/score_dense/bias" in combined.initial
    assert len(combined.used) == 43 + 44


def test_blocks_can_have_another_embedder(checkpoints):
    combined = combine([checkpoints["openqa"]], checkpoints["embedder"])
    parts = combined.parts
    assert parts.block_embedder is checkpoints["embedder"].parts.query_embedder
    assert parts.query_embedder is not parts.block_embedder
    with pytest.raises(CheckpointError, match="with an embedder. Received"):
        combine([checkpoints["openqa"]], checkpoints["encoder"])


def test_the_same_part_twice_is_refused(checkpoints):
    with pytest.raises(CheckpointError, match="a second query_embedder"):
        combine([checkpoints["openqa"], checkpoints["embedder"]])


def test_other_vocabularies_are_refused(release, checkpoints, tmp_path):
    folder = release.write_hugging_face(tmp_path / "x", "encoder")
    words = (folder / "vocab.txt").read_text("utf-8").split("\n")
    (folder / "vocab.txt").write_text("\n".join(words[:-2]), "utf-8")
    with pytest.raises(CheckpointError, match="must share a vocabulary"):
        combine([checkpoints["embedder"], load(folder)])
