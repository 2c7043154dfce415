import errno
import os
import shutil

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.metrics.metric import MetricsFilter
from beam_shards import RUNNER, contents, write_shards

from realm_tf._files import writer_lock
from realm_tf.data.corpus import corpus_parts
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.errors import FolderError, LockedError, PipelineError
from realm_tf.pipelines import BuildCorpus, BuildIndex, corpus_pipeline
from realm_tf.pipelines.pipeline_run import pipeline_options
from realm_tf.realm_qa import RealmQA

OPTIONS = {"max_wordpieces": 32, "skip_bad": True}


@pytest.fixture
def written(monkeypatch):
    """Names of the parts that are written."""
    names = []
    write_part = corpus_parts.write_part

    def record(task, *args):
        names.append(f"{task.path.parent.name}/{task.path.name}")
        return write_part(task, *args)

    monkeypatch.setattr(corpus_parts, "write_part", record)
    return names


@pytest.mark.parametrize(
    "name, num_bad",
    [
        ("part-{}.jsonl", 3),
        ("part-{}.tsv", 3),
        ("wiki_{}", 0),
        ("pages-articles{}.xml.bz2", 3),
    ],
)
def test_corpus_is_that_of_one_machine(
    name, num_bad, cities, featurizer, tmp_path, many_parts, written
):
    shards = write_shards(tmp_path / "shards", name, cities)
    (shards / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    one = build_corpus(shards, tmp_path / "one", featurizer, **OPTIONS)
    written.clear()
    transform = BuildCorpus(shards, tmp_path / "beam", featurizer, **OPTIONS)
    corpus = transform.run(RUNNER)
    assert len(written) >= 6
    assert contents(corpus.path) == contents(one.path)
    assert corpus.manifest.counts["num_documents"] == 11
    assert corpus.manifest.counts["num_bad_records"] == num_bad
    assert corpus.manifest.counts["num_files_left_out"] == 1
    assert not list(tmp_path.glob(".*"))


def test_several_processes_run_both_in_a_pipeline_of_the_user(
    shards, city_corpus, featurizer, preset, tmp_path, many_parts
):
    one = build_corpus(shards, tmp_path / "one", featurizer, **OPTIONS)
    index = RealmQA.from_preset(preset).build_index(
        city_corpus, tmp_path / "index"
    )
    options = pipeline_options(
        "DirectRunner",
        ["direct_running_mode=multi_processing", "direct_num_workers=2"],
    )
    with beam.Pipeline(options=options) as pipeline:
        _ = pipeline | BuildCorpus(
            shards, tmp_path / "beam", featurizer, **OPTIONS
        )
        _ = pipeline | BuildIndex(
            preset, city_corpus.path, tmp_path / "beam-index"
        )
    assert contents(tmp_path / "beam") == contents(one.path)
    assert contents(tmp_path / "beam-index") == contents(index.path)
    assert not list(tmp_path.glob(".*"))


def test_bad_record_fails_unless_it_is_skipped(shards, featurizer, tmp_path):
    transform = BuildCorpus(shards, tmp_path / "corpus", featurizer)
    with pytest.raises(
        PipelineError, match=r"part-0\.jsonl, line 2\. Correct it, or pass `ski"
    ):
        transform.run(RUNNER)
    assert not (tmp_path / "corpus").exists()


def test_counters_of_the_pipeline_are_those_of_the_manifest(
    shards, featurizer, tmp_path, many_parts
):
    transform = BuildCorpus(shards, tmp_path / "corpus", featurizer, **OPTIONS)
    pipeline = beam.Pipeline(options=pipeline_options(RUNNER, []))
    _ = pipeline | transform
    result = pipeline.run()
    result.wait_until_finish()
    found = result.metrics().query(MetricsFilter().with_namespace("realm_tf"))
    counts = Corpus.open(tmp_path / "corpus").manifest.counts
    assert {c.key.metric.name: c.committed for c in found["counters"]} == {
        "articles": counts["num_articles"],
        "bad_records": counts["num_bad_records"],
        "blocks": counts["num_blocks"],
        "left_out": counts["num_left_out"],
    }


def test_failed_run_keeps_its_parts(
    shards, featurizer, tmp_path, many_parts, monkeypatch, written
):
    def make():
        return BuildCorpus(shards, tmp_path / "corpus", featurizer, **OPTIONS)

    def fail(*args):
        raise RuntimeError("A worker was taken away.")

    with monkeypatch.context() as patch:
        patch.setattr(corpus_pipeline, "join_parts", fail)
        with pytest.raises(PipelineError, match="taken away. Finished parts"):
            make().run(RUNNER)
    part = next(tmp_path.glob(f".corpus.building/*/{written[0]}"))
    part.write_bytes(part.read_bytes()[:-50])  # as after a power cut
    assert len(written) == 6
    assert make().run(RUNNER).num_blocks > 10
    assert written[6:] == written[:1]


def test_retried_steps_count_once(shards, featurizer, tmp_path, many_parts):
    transform = BuildCorpus(shards, tmp_path / "corpus", featurizer, **OPTIONS)
    build = transform._build
    opened = corpus_pipeline._Open(build, transform._shards)
    shards_found = list(opened.process(None))
    writer = corpus_pipeline._WriteParts(build)
    writer.setup()
    results = []
    for shard in [*shards_found, *shards_found]:
        for item in corpus_pipeline._Read(build).process(shard):
            results += writer.process(item)
    join = corpus_pipeline._Join(build)
    join.setup()
    path = [str(tmp_path / "corpus")]
    assert list(join.process(results)) == path
    one = build_corpus(shards, tmp_path / "one", featurizer, **OPTIONS)
    assert contents(tmp_path / "corpus") == contents(one.path)
    # The corpus was published, but the runner did not hear of it.
    assert list(join.process(results)) == path


def test_another_corpus_in_the_place_is_not_taken_for_the_result(
    shards, featurizer, tmp_path
):
    transform = BuildCorpus(shards, tmp_path / "corpus", featurizer, **OPTIONS)
    first = os.fspath(shards / "part-0.jsonl")
    build_corpus(first, tmp_path / "corpus", featurizer, **OPTIONS)
    with pytest.raises(FolderError, match="path that does not exist yet"):
        transform.run(RUNNER)
    pipeline = beam.Pipeline(options=pipeline_options(RUNNER, []))
    _ = pipeline | transform
    with pytest.raises(FolderError, match="path that does not exist yet"):
        pipeline.run()


def test_missing_shard_is_named(shards, featurizer, tmp_path, many_parts):
    transform = BuildCorpus(shards, tmp_path / "corpus", featurizer, **OPTIONS)
    (shards / "part-1.jsonl").unlink()
    with pytest.raises(PipelineError, match=r"no \S+/part-1\.jsonl on \S+\. T"):
        transform.run(RUNNER)


def test_changed_shard_is_named(shards, featurizer, tmp_path):
    transform = BuildCorpus(shards, tmp_path / "corpus", featurizer, **OPTIONS)
    (shards / "part-1.jsonl").write_text('{"text": "Emma."}\n')
    with pytest.raises(PipelineError, match=r"part-1\.jsonl must not change"):
        transform.run(RUNNER)


def test_full_disk_names_the_worker(shards, featurizer, tmp_path, monkeypatch):
    def fail(file, **arrays):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    transform = BuildCorpus(shards, tmp_path / "corpus", featurizer, **OPTIONS)
    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(
        PipelineError, match=r"does not fit on the disk: .* Free some space for"
    ):
        transform.run(RUNNER)


def test_second_pipeline_is_refused(shards, featurizer, tmp_path):
    transform = BuildCorpus(shards, tmp_path / "corpus", featurizer, **OPTIONS)
    with (
        writer_lock(tmp_path / ".corpus.building"),
        pytest.raises(LockedError, match="being written by process"),
    ):
        transform.run(RUNNER)


def test_removed_work_folder_is_named(shards, featurizer, tmp_path):
    transform = BuildCorpus(shards, tmp_path / "corpus", featurizer, **OPTIONS)
    opened = corpus_pipeline._Open(transform._build, transform._shards)
    (shard,) = opened.process(None)
    shutil.rmtree(tmp_path / ".corpus.building")  # another one has finished
    with pytest.raises(FolderError, match="must be seen by every worker"):
        list(corpus_pipeline._Read(transform._build).process(shard))


def test_bad_arguments_are_refused_before_the_pipeline(
    shards, featurizer, tmp_path
):
    with pytest.raises(ValueError, match="`max_wordpieces` must leave room"):
        BuildCorpus(shards, tmp_path / "c", featurizer, max_wordpieces=3)
    with pytest.raises(ValueError, match="`sources` must be files"):
        BuildCorpus(tmp_path / "none", tmp_path / "c", featurizer)
