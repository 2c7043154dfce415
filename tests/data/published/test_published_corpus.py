import pathlib

import pytest

from realm_tf.data.published import published_corpus as block_corpus
from realm_tf.data.published.published_blocks import BlockRecord, BlockRecords
from realm_tf.data.published.published_corpus import build_block_corpus
from realm_tf.errors import FolderError

RECORDS = [
    BlockRecord("Emma is a novel. It is long.", "Emma"),
    BlockRecord("It came out in 1815.", "Emma"),
    BlockRecord("London is a city.", "London"),
    BlockRecord("Emma again.", "Emma"),
    BlockRecord("", "Nothing"),
]


class Given(BlockRecords):
    def __init__(self, path, records=RECORDS, has_titles=True):
        super().__init__(path)
        self.records = records
        self.has_titles = has_titles

    def __iter__(self):
        return iter(self.records)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "blocks"
    path.write_text("x")
    return path


def test_block_i_is_record_i(source, tmp_path, featurizer):
    corpus = build_block_corpus(Given(source), tmp_path / "corpus", featurizer)
    assert [(b.text, b.title) for b in corpus] == [r[:2] for r in RECORDS]
    expected = featurizer.tokenize(["It came out in 1815."]).ids
    assert corpus.token_ids(1).tolist() == expected.tolist()
    assert corpus.title_ids(4).tolist() == (
        featurizer.tokenize(["Nothing"]).ids.tolist()
    )


def test_blocks_in_a_row_with_one_title_are_a_document(
    source, tmp_path, featurizer
):
    corpus = build_block_corpus(Given(source), tmp_path / "corpus", featurizer)
    ids = [block.document_id for block in corpus]
    assert ids == ["0", "0", "2", "3", "4"]
    assert corpus.find_document("0").tolist() == [0, 1]
    assert corpus[1].article_starts == (29,)


def test_without_titles_every_block_is_a_document(source, tmp_path, featurizer):
    records = Given(source, [r._replace(title="") for r in RECORDS], False)
    corpus = build_block_corpus(records, tmp_path / "corpus", featurizer)
    assert [b.document_id for b in corpus] == ["0", "1", "2", "3", "4"]


def test_sentences_are_those_of_the_source_where_wordpieces_agree(
    source, tmp_path, featurizer
):
    text = "Emma, a novel. It is long."
    count = len(featurizer.tokenize([text]).ids)
    records = [
        BlockRecord(text, "a", count, (0, 2)),
        BlockRecord(text, "b", count + 1, (0, 2)),
    ]
    corpus = build_block_corpus(
        Given(source, records), tmp_path / "corpus", featurizer
    )
    starts = featurizer.tokenize([text]).starts
    assert corpus[0].sentence_starts == (0, starts[2])
    assert corpus[1].sentence_starts == (0, 15)


@pytest.mark.parametrize("num_blocks", [4, 6])
def test_another_number_is_refused(source, tmp_path, featurizer, num_blocks):
    path = tmp_path / "corpus"
    with pytest.raises(ValueError, match=f"5 blocks in .*, {num_blocks} embed"):
        build_block_corpus(
            Given(source), path, featurizer, num_blocks=num_blocks
        )
    assert not path.exists()


def test_no_blocks_are_refused(source, tmp_path, featurizer):
    with pytest.raises(ValueError, match="0 blocks"):
        build_block_corpus(Given(source, []), tmp_path / "corpus", featurizer)


def test_an_existing_path_is_refused(source, tmp_path, featurizer):
    with pytest.raises(FolderError, match="does not exist yet"):
        build_block_corpus(Given(source), pathlib.Path(tmp_path), featurizer)


def test_a_stopped_build_goes_on(source, tmp_path, featurizer, monkeypatch):
    monkeypatch.setattr(block_corpus, "_BLOCKS_OF_A_PART", 1)
    save = block_corpus._save
    saved = []

    def save_or_stop(path, *args):
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(path.name)
        save(path, *args)

    monkeypatch.setattr(block_corpus, "_save", save_or_stop)
    path = tmp_path / "corpus"
    with pytest.raises(KeyboardInterrupt):
        build_block_corpus(Given(source), path, featurizer)
    monkeypatch.setattr(
        block_corpus, "_save", lambda p, *a: (saved.append(p.name), save(p, *a))
    )
    done = []
    build_block_corpus(
        Given(source),
        path,
        featurizer,
        progress=lambda *call: done.append(call[:3]),
    )
    assert saved == [f"part-00000{i}.npz" for i in range(4)]
    assert done == [("corpus", n, 0) for n in (2, 3, 4, 5)]
