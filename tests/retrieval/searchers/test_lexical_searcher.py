import errno
import hashlib
import json
import random
import threading

import numpy as np
import pytest

from realm_tf.errors import FolderError
from realm_tf.retrieval.searchers.lexical_searcher import (
    K1,
    B,
    LexicalSearcher,
    rounded_length,
)

WORDS = [f"w{i}" for i in range(60)]


def make_texts(count=200, seed=0):
    rng = random.Random(seed)
    return [
        " ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 300)))
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def texts():
    return make_texts()


@pytest.fixture(scope="module")
def searcher(texts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lexical") / "lexical"
    return LexicalSearcher.build(texts, folder, "plain")


def bm25(texts, query):
    """The formula, over all texts."""
    split = [text.split() for text in texts]
    mean = np.mean([len(words) for words in split])
    scores = np.zeros(len(texts))
    for word in set(query.split()):
        holders = sum(word in words for words in split)
        idf = np.log(1 + (len(texts) - holders + 0.5) / (holders + 0.5))
        for row, words in enumerate(split):
            n = words.count(word)
            norm = 1 - B + B * rounded_length(len(words)) / mean
            scores[row] += idf * (K1 + 1) * n / (n + K1 * norm)
    return scores


def test_scores_are_those_of_the_formula(searcher, texts):
    query = "w1 w7 w7 w30 unknown"
    expected = bm25(texts, query)
    ids = np.array([*range(len(texts)), -1])
    scores = searcher.score(searcher.words(query), ids)
    np.testing.assert_allclose(scores[:-1], expected, rtol=1e-5)
    assert scores[-1] == 0
    found = searcher.search(searcher.words(query), 7)
    np.testing.assert_array_equal(
        found.block_ids[0], np.argsort(-expected, kind="stable")[:7]
    )
    np.testing.assert_allclose(
        found.scores[0], expected[found.block_ids[0]], rtol=1e-5
    )


def test_blocks_without_a_word_of_the_query_are_not_found(tmp_path):
    searcher = LexicalSearcher.build(
        ["emma", "", "emma woodhouse"], tmp_path / "a", "plain"
    )
    assert searcher.search(["emma"], 3).block_ids.tolist() == [[0, 2, -1]]
    assert searcher.search(["x"], 2).block_ids.tolist() == [[-1, -1]]
    assert searcher.search([], 2).block_ids.tolist() == [[-1, -1]]
    assert searcher.score([], np.array([0, 1])).tolist() == [0, 0]
    assert searcher.score(["emma"], np.array([], np.int64)).tolist() == []


def test_blocks_without_any_word_can_be_searched(tmp_path):
    searcher = LexicalSearcher.build(["", "..."], tmp_path / "a", "plain")
    assert searcher.num_blocks == 2
    assert searcher.search(["emma"], 2).block_ids.tolist() == [[-1, -1]]


def test_excluded_blocks_are_passed_over(searcher):
    words = searcher.words("w3")
    everything = searcher.search(words, 200).block_ids[0]
    everything = everything[everything >= 0]
    excluded = np.sort(everything[::2][:60])
    found = searcher.search(words, 10, excluded=excluded).block_ids[0]
    expected = everything[~np.isin(everything, excluded)][:10]
    np.testing.assert_array_equal(found, expected)
    nothing = searcher.search(words, 3, excluded=np.sort(everything))
    assert nothing.block_ids.tolist() == [[-1, -1, -1]]


def test_a_long_query_counts_its_first_128_words(searcher):
    long = " ".join(f"x{i}" for i in range(200))
    assert searcher.words(long) == [f"x{i}" for i in range(128)]


@pytest.mark.parametrize("k", [0, -1, True, 1.5])
def test_bad_k_is_refused(searcher, k):
    with pytest.raises(ValueError, match="`k` must be an integer"):
        searcher.search(["w1"], k)


def hashes(folder):
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.iterdir()
    }


def test_equal_blocks_make_equal_files(texts, tmp_path):
    for name in ("a", "b"):
        LexicalSearcher.build(texts, tmp_path / name)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


def test_opening_changes_nothing_and_needs_no_file_afterwards(texts, tmp_path):
    built = LexicalSearcher.build(texts, tmp_path / "a", "plain")
    before = hashes(tmp_path / "a")
    loaded = LexicalSearcher.load(tmp_path / "a")
    assert hashes(tmp_path / "a") == before
    for file in (tmp_path / "a").iterdir():
        file.unlink()
    expected = built.search(["w5"], 9)
    np.testing.assert_array_equal(
        loaded.search(["w5"], 9).scores, expected.scores
    )


def test_many_threads_may_search(searcher):
    expected = searcher.search(["w1", "w2"], 20).block_ids.tolist()
    found = []
    threads = [
        threading.Thread(
            target=lambda: found.extend(
                searcher.search(["w1", "w2"], 20).block_ids.tolist()
                for _ in range(20)
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 80


def damage_meta(folder):
    (folder / "meta.json").write_text("{}")


def remove_postings(folder):
    next(folder.glob("*.idx")).unlink()


def cut_terms(folder):
    file = next(folder.glob("*.term"))
    file.write_bytes(file.read_bytes()[:10])


def damage_options(folder):
    (folder / "options.json").write_text(json.dumps({"analyzer": "plain"}))


@pytest.mark.parametrize(
    "damage", [damage_meta, remove_postings, cut_terms, damage_options]
)
def test_damaged_files_are_refused(texts, tmp_path, damage):
    LexicalSearcher.build(texts, tmp_path / "a")
    damage(tmp_path / "a")
    with pytest.raises(FolderError, match="Copy the index again, or rebuild"):
        LexicalSearcher.load(tmp_path / "a")


def test_a_full_disk_is_an_os_error(tmp_path, monkeypatch):
    import tantivy

    class FullIndex:
        def __new__(cls, *args, **keywords):
            return object.__new__(cls)

        def register_tokenizer(self, *args):
            pass

        def writer(self, *args, **keywords):
            raise ValueError(
                "An IO error occurred: 'No space left on device (os error 28)'"
            )

    monkeypatch.setattr(tantivy, "Index", FullIndex)
    with pytest.raises(OSError, match="No space left") as caught:
        LexicalSearcher.build(["emma"], tmp_path / "a")
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize(
    ("length", "rounded"),
    [(0, 0), (39, 39), (40, 40), (41, 40), (55, 54), (57, 56), (300, 280)],
)
def test_lengths_are_rounded_as_tantivy_does(length, rounded):
    assert rounded_length(length) == rounded


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("*.term", lambda data: data[:-16] + b"\xff" * 16),
        ("*.idx", lambda data: data[:-16] + b"\xff" * 16),
        ("*.fast", lambda data: bytes(len(data))),
        ("meta.json", lambda data: data[:-9]),
    ],
)
def test_damaged_files_are_named(tmp_path, name, damage):
    """Without their checksums: Tantivy may panic, or return nothing."""
    folder = tmp_path / "lexical"
    LexicalSearcher.build(make_texts(40), folder, "plain")
    [path] = folder.glob(name)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FolderError, match=f"{folder} must hold a lexical inde"):
        searcher = LexicalSearcher.load(folder)
        searcher.search(searcher.words("w1 w2"), 5)


def test_damaged_options_are_named(tmp_path):
    folder = tmp_path / "lexical"
    LexicalSearcher.build(make_texts(2), folder, "plain")
    (folder / "options.json").write_text(
        '{"analyzer": "plaim", "mean_length": 1}'
    )
    with pytest.raises(FolderError, match="options.json must hold the options"):
        LexicalSearcher.load(folder)
