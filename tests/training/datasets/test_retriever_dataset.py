import gc
import itertools
import weakref

import numpy as np
import pytest

from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.data.questions.questions import Question
from realm_tf.training.datasets.answer_labels import AnswerLabels
from realm_tf.training.datasets.retriever_dataset import RetrieverDataset

TITLES = ("paris", "london", "city", "book")


def make_dataset(corpus, featurizer, positives, answers=("-",), **options):
    questions = [
        Question(str(i), f"what is in the year {i}?", tuple(answers))
        for i in range(len(positives))
    ]
    return RetrieverDataset(
        questions,
        np.array(positives, np.int64),
        AnswerLabels(corpus, questions, featurizer),
        corpus,
        featurizer,
        **options,
    )


def epoch(dataset):
    return list(dataset.as_dataset().as_numpy_iterator())


def test_shapes_and_mask(town_corpus, short_featurizer):
    # Blocks 0 to 4 have two questions, the others one.
    positives = [*range(10), *range(5)]
    dataset = make_dataset(
        town_corpus, short_featurizer, positives, batch_size=5, num_questions=3
    )
    batches = epoch(dataset)
    assert len(batches) == dataset.num_batches == 2
    num_questions = 0
    for features, mask in batches:
        assert (mask.shape, mask.dtype) == ((5, 3), np.int32)
        # Padded to a multiple of 16; no question is longer.
        assert features["question_token_ids"].shape == (5, 3, 16)
        assert features["block_token_ids"].shape[:2] == (5, 1)
        assert features["block_token_ids"].shape[2] % 16 == 0
        used = features["question_padding_mask"].sum(-1)
        # Where there is no question are [CLS] and [SEP] alone.
        np.testing.assert_array_equal(used > 2, mask == 1)
        num_questions += mask.sum()
    assert num_questions == 15


def test_rows_hold_a_block_and_its_questions(town_corpus, short_featurizer):
    dataset = make_dataset(
        town_corpus, short_featurizer, [3, 7], batch_size=2, num_questions=1
    )
    [(features, _)] = epoch(dataset)
    found = {
        tuple(question[0]): tuple(block[block > 0])
        for question, block in zip(
            features["question_token_ids"],
            features["block_token_ids"][:, 0],
            strict=True,
        )
    }
    questions = short_featurizer.questions(
        [f"what is in the year {i}?" for i in range(2)]
    )["token_ids"].numpy()
    blocks = town_corpus.blocks([3, 7])
    blocks = short_featurizer.blocks(
        [block.title for block in blocks], [block.text for block in blocks]
    )["token_ids"].numpy()
    assert found == {
        tuple(question): tuple(block[block > 0])
        for question, block in zip(questions, blocks, strict=True)
    }


def test_every_question_has_its_turn(town_corpus, short_featurizer):
    dataset = make_dataset(
        town_corpus, short_featurizer, [0, 0, 0, 1, 1, 1], num_questions=1
    )
    seen = set()
    for _ in range(25):
        for features, mask in epoch(dataset):
            assert mask.tolist() == [[1], [1]]
            seen |= set(map(tuple, features["question_token_ids"][:, 0]))
    assert len(seen) == 6


def test_every_block_has_its_turn(town_corpus, short_featurizer):
    dataset = make_dataset(
        town_corpus, short_featurizer, range(10), batch_size=4
    )
    seen = set()
    for _ in range(25):
        batches = epoch(dataset)
        assert len(batches) == dataset.num_batches == 2
        for features, _ in batches:
            seen |= set(features["block_token_ids"][:, 0, 1].tolist())
    titles = {town_corpus.title_ids(i)[0] for i in range(10)}
    assert seen == titles


def test_neighbours_of_one_article_stay_together(tmp_path, short_featurizer):
    articles = [
        Article(
            title,
            title,
            " ".join(f"It was founded in the year {i}." for i in range(8)),
        )
        for title in TITLES
    ]
    corpus = build_corpus(
        articles, tmp_path / "corpus", short_featurizer, max_wordpieces=14
    )
    assert corpus.num_blocks == 32  # one sentence each
    dataset = make_dataset(corpus, short_featurizer, range(32), batch_size=8)
    for _ in range(3):
        neighbours = 0
        for features, _ in epoch(dataset):
            titles = features["block_token_ids"][:, 0, 1].tolist()
            neighbours += sum(a == b for a, b in itertools.pairwise(titles))
        # Four articles in at most two runs each: 7 borders among 28 pairs.
        # In random order about 6 pairs would be neighbours.
        assert neighbours >= 21


def test_order_is_decided_by_the_seed(town_corpus, short_featurizer):
    def blocks(seed):
        dataset = make_dataset(
            town_corpus, short_featurizer, range(10), batch_size=5, seed=seed
        )
        first, second = epoch(dataset), epoch(dataset)
        return [
            features["block_token_ids"][:, 0, 1].tolist()
            for features, _ in first + second
        ]

    assert blocks(0) == blocks(0)
    assert blocks(0) != blocks(1)
    assert blocks(0)[:2] != blocks(0)[2:]


def test_batch_is_no_larger_than_the_blocks_with_questions(
    town_corpus, short_featurizer
):
    dataset = make_dataset(
        town_corpus, short_featurizer, [2, -1, 5, 5], batch_size=32
    )
    assert (dataset.batch_size, dataset.num_batches) == (2, 1)


@pytest.mark.parametrize("positives", [[], [-1, -1], [4, 4, -1]])
def test_too_few_blocks_are_refused(positives, town_corpus, short_featurizer):
    with pytest.raises(ValueError, match="at least 2 blocks"):
        make_dataset(town_corpus, short_featurizer, positives)


def test_batches_can_be_the_same_in_every_epoch(town_corpus, short_featurizer):
    for reshuffle in (True, False):
        dataset = make_dataset(
            town_corpus,
            short_featurizer,
            [*range(10)],
            batch_size=4,
            reshuffle=reshuffle,
        )
        first, second = (
            [x["block_token_ids"].tolist() for x, _ in epoch(dataset)]
            for _ in range(2)
        )
        assert (first != second) == reshuffle


def test_dataset_keeps_its_batches_and_goes_with_them(
    town_corpus, short_featurizer
):
    data = make_dataset(town_corpus, short_featurizer, range(10), batch_size=5)
    reference = weakref.ref(data)
    iterator = iter(data.as_dataset().take(2))
    del data
    gc.collect()
    assert len(list(iterator)) == 2
    del iterator
    gc.collect()
    assert reference() is None


def test_hard_negatives_are_found_blocks_without_an_answer(
    town_corpus, short_featurizer
):
    answer = town_corpus[4].text.split()[-1]
    holders = {
        i
        for i in range(town_corpus.num_blocks)
        if answer in town_corpus[i].text
    }
    found = [[0, 1, 4, 5, -1], [2, 3, 4, -1, -1], [0, 1, 2, 3, 4]]
    dataset = make_dataset(
        town_corpus,
        short_featurizer,
        [0, 1, 2],
        [answer],
        batch_size=3,
        hard_negatives=np.array(found),
        num_negatives=2,
    )
    drawn = {0: set(), 1: set(), 2: set()}
    for _ in range(20):
        for features, _ in epoch(dataset):
            read = features["block_ids"].tolist()
            kept = features["answering_ids"][:, 0].tolist()
            for row, ids in zip(read, kept, strict=True):
                drawn[row[0]] |= set(row[1:]) - {-1}
                in_batch = set(itertools.chain(*read))
                assert set(ids) == {-1, row[0], *(holders & in_batch)}
    for own, blocks in drawn.items():
        assert blocks == set(found[own]) - holders - {own, -1}


def test_missing_negatives_are_no_blocks(town_corpus, short_featurizer):
    dataset = make_dataset(
        town_corpus,
        short_featurizer,
        [0, 1],
        batch_size=2,
        hard_negatives=np.array([[0, -1], [-1, -1]]),
        num_negatives=1,
    )
    [(features, _)] = epoch(dataset)
    assert features["block_ids"][:, 1].tolist() == [-1, -1]
    assert (features["answering_ids"] == -1).any(axis=-1).all()
