import numpy as np
import pytest

from realm_tf import realm_qa
from realm_tf.options import ExportOptions
from realm_tf.realm_qa import RealmQA


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_model_starts_from_a_bert_folder(tiny_bert, pooling, tmp_path):
    folder = tiny_bert
    if pooling == "mean":
        folder = sentence_transformer(tiny_bert, tmp_path / "st")
    qa = RealmQA.from_bert(
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
    qa = RealmQA.from_bert(folder, embedding_dim=3)
    qa.build_index(["Lima is a city.", "Nice is a city too."])
    kernel = qa.block_embedder.projection.kernel.numpy()
    qa.build_index(["The sea is blue.", "A river is long and old."])
    np.testing.assert_array_equal(qa.block_embedder.projection.kernel, kernel)


def test_sentence_encoder_can_index_a_single_text(tiny_bert, tmp_path):
    folder = sentence_transformer(tiny_bert, tmp_path / "st")
    qa = RealmQA.from_bert(folder, embedding_dim=3)
    qa.build_index(["Lima is a city."])
    assert qa.ask("what is it?").blocks


def test_summary_describes_the_model(qa):
    assert "exact" in qa.summary()


def test_export_passes_options_on(qa, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(realm_qa, "export", lambda *given: calls.append(given))
    qa.export(tmp_path, models=("reader",), num_answers=2)
    options = ExportOptions(models=("realm_reader",), num_answers=2)
    assert calls == [(qa, tmp_path, options)]
