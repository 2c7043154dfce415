import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from realm_tf.errors import BackendError, FolderError
from realm_tf.serving.backends.in_process_backend import InProcessBackend
from realm_tf.serving.bundle import (
    BLOCK_EMBEDDER,
    QUERY_EMBEDDER,
    READER,
    read_bundle,
)

QUESTIONS = ["When was the school of Rome founded?", "Zoë was in Österreich?"]


@pytest.fixture(scope="module")
def exported(served_qa, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    served_qa.export(folder)
    return folder


@pytest.fixture(scope="module")
def models(exported):
    return InProcessBackend(exported)


def test_embeddings_are_those_of_the_model(models, backend):
    there, here = (b.embed_questions(QUESTIONS) for b in (models, backend))
    np.testing.assert_allclose(there.embeddings, here.embeddings, atol=1e-5)
    assert there.fingerprint == here.fingerprint and there.version == 1
    titles, texts = ["Rome", ""], ["Rome is old.", "Oslo is not."]
    there, here = (b.embed_blocks(titles, texts) for b in (models, backend))
    np.testing.assert_allclose(there.embeddings, here.embeddings, atol=1e-5)


def test_long_questions_are_told(models):
    found = models.embed_questions(["who?", "who " * 100])
    assert found.truncated.tolist() == [False, True]


def test_answers_are_those_of_the_model(models, backend, city_corpus):
    texts = [
        [b.text for b in city_corpus.blocks(ids)] for ids in ([0, 1], [2, 3])
    ]
    scores = np.array([[1.0, 0.5], [0.25, 0.0]], np.float32)
    read = (QUESTIONS, [["", "Rome"]] * 2, texts, scores, 5)
    for there, here in zip(
        models.read(*read).spans, backend.read(*read).spans, strict=True
    ):
        assert [s.text for s in there] == [s.text for s in here]
        np.testing.assert_allclose(
            [(s.reading_probability, s.probability) for s in there],
            [(s.reading_probability, s.probability) for s in here],
            atol=1e-5,
        )


def test_newer_versions_are_taken_up(served_qa, exported):
    models = InProcessBackend(exported)
    newer = models.of_export(served_qa.export(exported))
    assert models.embed_questions(["who?"]).version == 1
    assert newer.embed_questions(["who?"]).version == 2
    newer.check_export(read_bundle(exported))


def test_i7_i8_damaged_model_is_refused_and_the_old_one_stays(
    served_qa, exported, tmp_path
):
    copy = shutil.copytree(exported, tmp_path / "bundle")
    models = InProcessBackend(copy)
    before = models.embed_questions(["who?"]).version
    bundle = served_qa.export(copy)
    folder = bundle.model_path(READER) / "variables"
    file = folder / "variables.data-00000-of-00001"
    whole = file.read_bytes()
    middle = len(whole) // 2
    flipped = bytes([whole[middle] ^ 1])
    for damaged in (
        whole[:middle],
        whole[:middle] + flipped + whole[middle + 1 :],
    ):
        file.write_bytes(damaged)
        with pytest.raises(FolderError, match=file.name):
            models.of_export(bundle)
        assert models.embed_questions(["who?"]).version == before


def test_model_that_was_not_exported_is_an_error(served_qa, tmp_path):
    served_qa.export(tmp_path / "bundle", models=["query_embedder"])
    models = InProcessBackend(tmp_path / "bundle")
    with pytest.raises(BackendError, match=f"`{BLOCK_EMBEDDER}` with the"):
        models.embed_blocks([""], ["text"])


def test_unknown_signature_is_an_error(models):
    with pytest.raises(BackendError, match="signature `nothing`"):
        models.predict(QUERY_EMBEDDER, "nothing", {"question": [b"who?"]})


def test_what_a_model_refuses_is_an_error(models):
    with pytest.raises(BackendError, match="`realm_reader` failed"):
        models.read(["a"], [["", ""]], [["b"]], np.zeros((1, 3)), 5)
    assert models.predict(READER, "serving_default", read_inputs())


def read_inputs():
    return {
        "question": [b"who?"],
        "block_titles": [[b""]],
        "block_texts": [[b"Rome is old."]],
        "retrieval_scores": np.zeros((1, 1), np.float32),
    }


def test_folder_that_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(FolderError, match=r"bundle\.json"):
        InProcessBackend(tmp_path)


def test_damage_is_found_before_a_model_is_loaded(
    exported, tmp_path, monkeypatch
):
    copy = shutil.copytree(exported, tmp_path / "bundle")
    folder = read_bundle(copy).model_path(READER)
    (folder / "saved_model.pb").write_bytes(b"")
    monkeypatch.setattr("tensorflow.saved_model.load", None)
    with pytest.raises(FolderError, match="saved_model.pb"):
        InProcessBackend(copy)


def test_a_model_that_changes_while_it_is_loaded_is_refused(
    exported, tmp_path, monkeypatch
):
    copy = shutil.copytree(exported, tmp_path / "bundle")
    folder = read_bundle(copy).model_path(READER)

    def load(path):
        file = folder / "saved_model.pb"
        file.write_bytes(file.read_bytes() + b"more")
        return SimpleNamespace(signatures={})

    monkeypatch.setattr("tensorflow.saved_model.load", load)
    with pytest.raises(FolderError, match="must not be changed"):
        InProcessBackend(copy)
