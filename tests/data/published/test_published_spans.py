import tracemalloc

import pytest
import tensorflow as tf

from realm_tf.data.corpus.blocks import Block
from realm_tf.data.published import published_spans as salient_span_records
from realm_tf.data.published.published_spans import (
    AnnotatedBlock,
    import_annotated_spans,
    read_annotated_blocks,
    usable_spans,
)

ORIGINAL = (
    "sentence_byte_start",
    "sentence_byte_limit",
    "span_byte_start",
    "span_byte_limit",
)
TFDS = ("sentences/start", "sentences/limit", "spans/start", "spans/limit")


def example(title, text, sentences, spans, names=ORIGINAL, left_out=()):
    def ints(values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def string(value):
        value = [value.encode()]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=value))

    features = {
        "title": string(title),
        "text": string(text),
        "uid": string("7"),
    }
    lists = [
        [span[i] for span in s] for s in (sentences, spans) for i in (0, 1)
    ]
    features |= {n: ints(v) for n, v in zip(names, lists, strict=True)}
    features = {n: v for n, v in features.items() if n not in left_out}
    return tf.train.Example(
        features=tf.train.Features(feature=features)
    ).SerializeToString()


def write(path, records, compression=None):
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in records:
            writer.write(record)
    return path


@pytest.mark.parametrize("names", [ORIGINAL, TFDS])
@pytest.mark.parametrize("compression", [None, "GZIP"])
def test_records_are_read(tmp_path, compression, names):
    text = "Zoë left. In 1815."
    record = example("é", text, [(0, 10), (11, 19)], [(0, 4), (14, 18)], names)
    path = write(tmp_path / "part-0", [record] * 2, compression)
    expected = AnnotatedBlock(
        "é", text, [(0, 10), (11, 19)], [(0, 4), (14, 18)]
    )
    assert list(read_annotated_blocks([path])) == [expected] * 2


@pytest.mark.parametrize("names", [ORIGINAL, TFDS])
@pytest.mark.parametrize("left_out", [0, 2])
def test_records_without_a_span_are_read(tmp_path, names, left_out):
    record = example("a", "b", [(0, 1)], [], names, names[2 : 2 + left_out])
    path = write(tmp_path / "part-0", [record])
    assert list(read_annotated_blocks([path])) == [
        AnnotatedBlock("a", "b", [(0, 1)], [])
    ]


def test_records_of_other_keys_are_refused(tmp_path):
    """`salient_span_wikipedia/sentences`, the default, has no blocks."""
    record = example("a", "b", [(0, 1)], [(0, 1)], TFDS, TFDS[:2])
    path = write(tmp_path / "part-0", [record])
    with pytest.raises(
        ValueError, match=r"record 0.*'spans/limit', 'spans/start'.*documents"
    ):
        list(read_annotated_blocks([path]))


def test_spans_across_sentences_and_doubles_are_left_out():
    sentences, spans = [(0, 5), (6, 12)], [(7, 9), (1, 3), (4, 8), (1, 3)]
    assert usable_spans(AnnotatedBlock("", "", sentences, spans)) == [
        (1, 3),
        (7, 9),
    ]


def test_spans_reach_their_blocks_in_any_order(city_corpus, tmp_path, caplog):
    records = [
        example(
            city_corpus[i].title,
            city_corpus[i].text,
            [(0, len(city_corpus[i].text))],
            [(0, i + 1)],
        )
        for i in (3, 1)
    ]
    records.append(example("Emma", "Another text.", [(0, 13)], [(0, 7)]))
    path = write(tmp_path / "part-0", records)
    spans = import_annotated_spans([path], city_corpus, tmp_path / "spans")
    assert spans.tagged_blocks().tolist() == [1, 3]
    # D1: TensorFlow does not notice a file that ends between two records.
    missing = city_corpus.num_blocks - 2
    assert f"{missing} of {missing + 2} blocks" in caplog.text
    assert [tuple(s) for s in spans.spans(3)] == [(0, 4, "SALIENT")]
    assert [tuple(s) for s in spans.spans(1)] == [(0, 2, "SALIENT")]


def test_import_needs_little_memory(city_corpus, tmp_path, monkeypatch):
    """13 million blocks have about six spans each."""
    count = 20_000
    spans = [(1_000 + 10 * i, 1_007 + 10 * i) for i in range(6)]

    class Blocks:
        num_blocks = count
        fingerprint = city_corpus.fingerprint

        def __iter__(self):
            return (Block(str(i), "") for i in range(count))

    def read(paths, skip_bad):
        for i in reversed(range(count)):
            yield AnnotatedBlock("", str(i), [(0, 9_999)], spans[i % 2 :])

    monkeypatch.setattr(salient_span_records, "read_annotated_blocks", read)
    tracemalloc.start()
    try:
        written = import_annotated_spans([], Blocks(), tmp_path / "spans")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Bytes; 1,400 with a list of `Span` each. Small arrays are copied.
    assert peak < 150 * count
    assert written.num_spans == count // 2 * (6 + 5)
    for block_id in (0, 1, count - 1):
        assert [tuple(s[:2]) for s in written.spans(block_id)] == spans[
            block_id % 2 :
        ]


def test_records_of_another_corpus_are_refused(city_corpus, tmp_path):
    path = write(tmp_path / "part-0", [example("a", "b", [(0, 1)], [(0, 1)])])
    with pytest.raises(ValueError, match="1 records, all of other blocks"):
        import_annotated_spans([path], city_corpus, tmp_path / "spans")


def test_damaged_records_are_named(tmp_path):
    good = example("a", "b", [(0, 1)], [(0, 1)])
    path = write(tmp_path / "part-0", [good, good])
    data = bytearray(path.read_bytes())
    data[-8] ^= 255
    path.write_bytes(data)
    with pytest.raises(ValueError, match="part-0.*record 1 is damaged"):
        list(read_annotated_blocks([path]))
    path = write(tmp_path / "part-1", [b"not an example"])
    with pytest.raises(ValueError, match="in record 0"):
        list(read_annotated_blocks([path]))


def test_d2_cut_gzip_is_refused_or_skipped(tmp_path, caplog):
    """TensorFlow takes the cut for the end of the file."""
    good = example("a", "b", [(0, 1)], [(0, 1)])
    path = write(tmp_path / "part-0", [good] * 3, "GZIP")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="part-0 is damaged"):
        list(read_annotated_blocks([path]))
    other = write(tmp_path / "part-1", [good])
    blocks = list(read_annotated_blocks([path, other], skip_bad=True))
    assert blocks[-1].title == "a" and 1 <= len(blocks) < 4
    assert "Skipped the rest of a file." in caplog.text
