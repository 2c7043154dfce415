import numpy as np
import pytest
from beam_shards import RUNNER, contents

from realm_tf._files import writer_lock
from realm_tf.data.corpus import corpus_parts
from realm_tf.engine import text_embedder
from realm_tf.errors import FolderError, LockedError, PipelineError
from realm_tf.pipelines import BuildIndex, embedding_pipeline
from realm_tf.realm_qa import RealmQA


@pytest.fixture
def embedded(monkeypatch):
    """Numbers of the chunks that are embedded."""
    numbers = []
    chunk = text_embedder.TextEmbedder.chunk

    def record(self, corpus, i):
        numbers.append(i)
        return chunk(self, corpus, i)

    monkeypatch.setattr(text_embedder.TextEmbedder, "chunk", record)
    return numbers


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(text_embedder, "_CHUNK", 3)


def test_index_is_that_of_one_machine(
    preset, city_corpus, tmp_path, small_chunks, embedded
):
    precision = "mixed_bfloat16"
    qa = RealmQA.from_preset(preset, dtype=precision)
    options = {"dtype": "bfloat16", "analyzer": "plain"}
    one = qa.build_index(city_corpus, tmp_path / "one", **options)
    num_chunks = len(embedded)
    assert num_chunks > 3
    path = tmp_path / "beam"
    options["precision"] = precision
    beam = BuildIndex(preset, city_corpus.path, path, **options).run(RUNNER)
    assert len(embedded) == 2 * num_chunks
    assert contents(path) == contents(one.path)
    assert beam.embedder_fingerprint == qa.embedder_fingerprint
    again = BuildIndex(preset, city_corpus.path, path, **options).run(RUNNER)
    assert again.version == 2
    assert not list(tmp_path.glob(".*"))


def test_projection_is_fitted_as_on_one_machine(make_qa, city_corpus, tmp_path):
    qa = make_qa(pooling="mean")
    qa.projection_fitted = False
    qa.save_to_preset(tmp_path / "preset")
    index = BuildIndex(
        tmp_path / "preset", city_corpus.path, tmp_path / "beam"
    ).run(RUNNER)
    one = qa.build_index(city_corpus, tmp_path / "one")
    assert qa.projection_fitted
    assert contents(index.path) == contents(one.path)


def test_failed_run_keeps_its_embeddings_for_the_same_model(
    preset, city_corpus, tmp_path, small_chunks, embedded, monkeypatch
):
    def run(**options):
        return BuildIndex(
            preset, city_corpus.path, tmp_path / "index", **options
        ).run(RUNNER)

    chunk = text_embedder.TextEmbedder.chunk

    def spoiled(self, corpus, i):
        rows = chunk(self, corpus, i)
        rows[1 if i == 1 else []] = np.nan
        return rows

    monkeypatch.setattr(text_embedder.TextEmbedder, "chunk", spoiled)
    with pytest.raises(PipelineError, match="or pass `skip_bad=True`"):
        run()
    first = len(embedded)
    folder = next(tmp_path.glob(".index.embeddings.building/plan-*"))
    damaged, foreign = folder / "chunk-000000.npz", folder / "chunk-000002.npz"
    damaged.write_bytes(b"PK")
    arrays = corpus_parts.read_part(foreign)
    corpus_parts.save_arrays(foreign, arrays | {"embedder": np.array("x")})
    index = run(skip_bad=True)
    assert embedded[first:] == [0, 2]
    assert index.num_blocks == city_corpus.num_blocks - 1
    assert index.manifest.counts["num_excluded"] == 1


def test_workers_with_different_models_are_refused(
    preset, city_corpus, tmp_path
):
    transform = BuildIndex(preset, city_corpus.path, tmp_path / "index")
    last = embedding_pipeline._Index(transform._build)
    with pytest.raises(ValueError, match="must embed with the same model"):
        list(last.process([(0, "abc"), (1, "abd")]))


def test_second_pipeline_is_refused(preset, city_corpus, tmp_path):
    transform = BuildIndex(preset, city_corpus.path, tmp_path / "index")
    with (
        writer_lock(tmp_path / ".index.embeddings.building"),
        pytest.raises(LockedError, match="being written by process"),
    ):
        transform.run(RUNNER)


def test_bad_arguments_are_refused_before_the_pipeline(
    preset, city_corpus, tmp_path
):
    with pytest.raises(
        TypeError, match="unexpected keyword argument 'sercher'"
    ):
        BuildIndex(preset, city_corpus.path, tmp_path / "i", sercher="auto")
    with pytest.raises(FolderError, match="must be a folder with a manifest"):
        BuildIndex(preset, tmp_path / "none", tmp_path / "i")
