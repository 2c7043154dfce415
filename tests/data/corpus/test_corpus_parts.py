import numpy as np
import pytest

from realm_tf.data.corpus import corpus_parts
from realm_tf.data.corpus.articles import GivenArticles, SourceArticle
from realm_tf.data.corpus.blocks import Article, Block
from realm_tf.data.corpus.corpus_parts import (
    PartCounts,
    PartTask,
    cut_into_parts,
    decode_block,
    encode_block,
    read_counts,
    read_part,
    save_arrays,
    write_part,
)
from realm_tf.errors import FolderError


def test_parts_are_runs_of_articles(articles, tmp_path, monkeypatch):
    size = len(articles[0].text)
    monkeypatch.setattr(corpus_parts, "PART_CHARACTERS", 3 * size)
    tasks = list(cut_into_parts(GivenArticles(articles), tmp_path))
    assert [len(task.articles) for task in tasks] == [3] * 6 + [2]
    assert [task.path.name for task in tasks[:2]] == [
        "part-000000.npz",
        "part-000001.npz",
    ]
    joined = [source.article for task in tasks for source in task.articles]
    assert joined == articles
    assert list(cut_into_parts([], tmp_path)) == []


def test_part_holds_the_blocks_of_its_documents(featurizer, tmp_path):
    texts = {"a": "It is. It is.", "b": " ", "c": "It is."}
    sources = [
        SourceArticle(Article(name, "the", text), "file", line)
        for line, (name, text) in enumerate(texts.items(), 1)
    ]
    left_out = SourceArticle(Article("d", "", "x"), "file", 4, lambda *_: None)
    task = PartTask(tmp_path / "part.npz", [*sources, left_out])
    counts = write_part(task, featurizer, 8)
    assert counts == read_counts(task.path)
    assert counts._asdict() == {
        "num_articles": 3,
        "num_left_out": 1,
        "num_documents": 2,
        "num_blocks": 3,
        "num_cut_sentences": 0,
    }
    with np.load(task.path) as part:
        assert part["document_num_blocks"].tolist() == [2, 1]
        assert part["token_ids_splits"].tolist() == [0, 3, 6, 9]
        assert part["title_ids_splits"].tolist() == [0, 1, 2, 3]
        start, end = part["records_splits"][1:3]
        block = decode_block(part["records"][start:end].tobytes(), 1)
        assert part["locations"].tobytes() == b"file, line 1file, line 3"
    assert block.article_starts == (7,)
    assert [file.name for file in tmp_path.iterdir()] == ["part.npz"]


def test_part_without_blocks_is_a_part(featurizer, tmp_path):
    source = SourceArticle(Article("a", "", ""), "file", 1)
    task = PartTask(tmp_path / "part.npz", [source])
    assert write_part(task, featurizer, 8).num_blocks == 0


@pytest.mark.parametrize("text", ["", 'quote " \\ \n', "a\x00 é😀\u2028\u200f"])
def test_record_gives_the_block_back(text):
    block = Block(text, "title", "id", 7, (0, 2), (5, 9))
    assert decode_block(encode_block(block), 7) == block


def test_counts_of_parts_add_up():
    total = PartCounts(1, 2, 3, 4, 5).plus(PartCounts(10, 20, 30, 40))
    assert total == PartCounts(11, 22, 33, 44, 5)


def test_arrays_come_back_and_a_damaged_file_is_removed(tmp_path):
    path = tmp_path / "part.npz"
    save_arrays(path, {"a": np.arange(3), "b": np.array("x")})
    assert read_part(path, "a")["a"].tolist() == [0, 1, 2]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FolderError, match="must hold a part"):
        read_part(path)
    assert not path.exists()
