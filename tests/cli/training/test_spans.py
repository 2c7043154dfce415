import pytest

from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.spans.salient_spans import SalientSpans


def test_dates_and_numbers_are_stored(corpus, run, tmp_path):
    output = tmp_path / "spans"
    facts = run("spans", "--corpus", corpus, "-o", output, "--json").json
    # 1815 in two of four blocks, in one of them once.
    assert facts["num_spans"] == 2
    assert facts["labels"] == {"DATE": 2}
    opened = Corpus.open(corpus)
    spans = SalientSpans.open(output, opened)
    for block_id in spans.tagged_blocks():
        raw = opened[block_id].text.encode()
        [span] = spans.spans(block_id)
        assert raw[span.start : span.end] == b"1815"


def test_spans_are_replaced_only_if_told(corpus, fail, run, tmp_path):
    place = ("spans", "--corpus", corpus, "--output", tmp_path / "spans")
    run(*place)
    assert "--overwrite" in fail(*place, code=2)
    run(*place, "--overwrite")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--no-rules",), "--no-rules needs"),
        (("--spacy", "x", "--records", __file__), "--records or a tagger"),
    ],
)
def test_wrong_use(corpus, fail, options, message, tmp_path):
    output = ("--output", tmp_path / "spans")
    error = fail("spans", "--corpus", corpus, *output, *options, code=2)
    assert message in error


def test_spacy_that_is_not_installed_is_named(corpus, fail, tmp_path):
    output = ("--output", tmp_path / "spans")
    error = fail("spans", "--corpus", corpus, *output, "--spacy", "en")
    assert "pip install spacy" in error
