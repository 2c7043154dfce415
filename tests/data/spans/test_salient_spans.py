import json
import tracemalloc
import types

import numpy as np
import pytest

from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.data.spans import salient_spans as span_store
from realm_tf.data.spans.date_number_tagger import DateNumberTagger
from realm_tf.data.spans.salient_span import SalientSpan
from realm_tf.data.spans.salient_spans import (
    SalientSpans,
    tag_corpus,
    write_spans,
)
from realm_tf.errors import FolderError, MismatchError


@pytest.fixture(scope="module")
def folder(city_corpus, tmp_path_factory):
    path = tmp_path_factory.mktemp("spans") / "cities.spans"
    tag_corpus(city_corpus, DateNumberTagger(), path)
    return path


def test_spans_are_slices_of_their_block(city_corpus, folder):
    spans = SalientSpans.open(folder, city_corpus)
    for block in city_corpus:
        raw = block.text.encode()
        found = [
            raw[s.start : s.end].decode() for s in spans.spans(block.block_id)
        ]
        assert found == [
            w.strip(".") for w in block.text.split() if w[0].isdigit()
        ]
        assert {s.label for s in spans.spans(block.block_id)} <= {"DATE"}
    # A year in each city, and the ten of the travels.
    assert spans.num_spans == 20
    tagged = spans.tagged_blocks().tolist()
    assert tagged == [i for i in range(len(city_corpus)) if spans.spans(i)]


def test_progress_counts_blocks(city_corpus, tmp_path):
    calls = []
    tag_corpus(
        city_corpus,
        DateNumberTagger(),
        tmp_path / "spans",
        progress=lambda *call: calls.append(call),
    )
    assert calls == [("spans", len(city_corpus), len(city_corpus), {})]


def test_spans_stand_beside_their_corpus(cities, short_featurizer, tmp_path):
    corpus = build_corpus(cities, tmp_path / "corpus", short_featurizer)
    spans = tag_corpus(corpus, DateNumberTagger())
    assert spans.path == tmp_path / "corpus.spans"
    assert span_store.default_path(corpus.path) == spans.path


def test_other_spans_are_replaced_only_if_told(city_corpus, tmp_path):
    rows = [[SalientSpan(0, 2, "X")]] + [[]] * (len(city_corpus) - 1)
    first = write_spans(city_corpus, rows, tmp_path / "spans")
    assert first.spans(0) == [SalientSpan(0, 2, "X")]
    with pytest.raises(FolderError, match="does not exist yet"):
        write_spans(city_corpus, rows, tmp_path / "spans")
    rows[0] = [SalientSpan(1, 2, "Y"), SalientSpan(3, 4, "X")]
    second = write_spans(
        city_corpus, rows, tmp_path / "spans", {"tagger": "me"}, overwrite=True
    )
    assert second.spans(0) == rows[0]
    assert second.tagged_blocks().tolist() == [0]


def test_spans_of_another_corpus_are_refused(
    folder, short_featurizer, tmp_path
):
    other = build_corpus(
        [Article("1", "city", "It was founded in 1815.")],
        tmp_path / "corpus",
        short_featurizer,
    )
    with pytest.raises(MismatchError, match="realm-tf spans"):
        SalientSpans.open(folder, other)
    with pytest.raises(ValueError, match="2 rows for 1 blocks.*empty row"):
        write_spans(other, [[], []], tmp_path / "spans")
    assert not (tmp_path / "spans").exists()


def test_a_corpus_may_have_no_span(city_corpus, tmp_path):
    rows = [[]] * len(city_corpus)
    spans = write_spans(city_corpus, rows, tmp_path / "spans")
    assert (spans.num_spans, spans.spans(0)) == (0, [])
    names = {"manifest.json", "spans.npy", "labels.npy", "row_splits.npy"}
    assert {file.name for file in spans.path.iterdir()} == names


@pytest.mark.parametrize("count", [255, 256, 400])
def test_more_labels_than_fit_in_a_byte_are_refused(
    count, city_corpus, tmp_path
):
    row = [SalientSpan(i, i + 1, f"L{i}") for i in range(count)]
    rows = [row] + [[]] * (len(city_corpus) - 1)
    if count == 255:
        spans = write_spans(city_corpus, rows, tmp_path / "spans")
        assert spans.spans(0) == row
        return
    with pytest.raises(ValueError, match=f"{count} labels, the last 'L"):
        write_spans(city_corpus, rows, tmp_path / "spans")


def test_writing_needs_little_memory(city_corpus, tmp_path):
    count = 20_000

    class Blocks:
        num_blocks = count
        fingerprint = city_corpus.fingerprint

    rows = (
        [SalientSpan(1_000 + i, 1_007 + i, "X") for i in range(6)]
        for _ in range(count)
    )
    tracemalloc.start()
    try:
        written = write_spans(Blocks(), rows, tmp_path / "spans")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Bytes; 62 of them are copies of the small files. 450 with an array a row.
    assert peak < 150 * count
    assert written.num_spans == 6 * count


@pytest.mark.parametrize("name", ["spans", "labels", "row_splits"])
def test_damaged_files_are_refused(name, city_corpus, tmp_path):
    path = tmp_path / "spans"
    tag_corpus(city_corpus, DateNumberTagger(), path)
    file = path / f"{name}.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    with pytest.raises(FolderError, match=name):
        SalientSpans.open(path, city_corpus)


def test_arrays_of_another_kind_are_refused(city_corpus, tmp_path):
    folder = types.SimpleNamespace(path=tmp_path, files={})
    for array in (np.zeros(3), np.zeros((2, 2), np.int32)):
        np.save(tmp_path / "spans.npy", array)
        with pytest.raises(FolderError, match="type <i4"):
            span_store._load(folder, "spans", "<i4", 1, 2)
    (tmp_path / "spans.npy").write_text(json.dumps([1]))
    with pytest.raises(FolderError, match="Tag the corpus"):
        span_store._load(folder, "spans", "<i4", 1, 2)
