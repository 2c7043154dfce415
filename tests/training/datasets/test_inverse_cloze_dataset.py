import numpy as np
import pytest

from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.options import InverseClozeOptions
from realm_tf.training.datasets.inverse_cloze_dataset import InverseClozeDataset

NUM_ARTICLES = 6
BLOCKS_EACH = 8
LONG = "Many people live in the city in the year. "


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, short_featurizer):
    """Six articles of eight blocks; each block has two sentences of its own."""
    articles = [
        Article(
            str(a),
            "city",
            " ".join(
                f"It was founded in {a}. Book {i} is in {a}."
                for i in range(BLOCKS_EACH)
            ),
        )
        for a in range(NUM_ARTICLES)
    ]
    # One article whose blocks are sentences.
    articles.append(Article("single", "book", LONG * 4))
    return build_corpus(
        articles,
        tmp_path_factory.mktemp("ict") / "corpus",
        short_featurizer,
        max_wordpieces=16,
    )


@pytest.fixture
def make(corpus, short_featurizer):
    def make_dataset(**options):
        options = {"batch_size": 12, "run_length": 4, **options}
        return InverseClozeDataset(
            corpus, short_featurizer, InverseClozeOptions(**options)
        )

    return make_dataset


def words(row):
    return [int(i) for i in row if i > 0]


def test_query_is_a_sentence_that_its_block_keeps_or_loses(
    make, corpus, short_featurizer
):
    dataset = make(mask_rate=0.5)
    seen = set()
    for step in range(dataset.steps_per_epoch):
        batch = dataset.batch(step)
        blocks = corpus.blocks(dataset.batch_ids(step))
        for row, block in enumerate(blocks):
            raw = block.text.encode()
            ends = [*block.sentence_starts[1:], len(raw)]
            sentences = [
                raw[a:b].decode().strip()
                for a, b in zip(block.sentence_starts, ends, strict=True)
            ]
            features = short_featurizer.questions(sentences)["token_ids"]
            choices = [words(ids) for ids in features.numpy()]
            number = choices.index(words(batch["query_token_ids"][row]))
            removed = int(batch["is_removed"][row])
            left = sentences[:number] + sentences[number + 1 :]
            text = " ".join(left) if removed else block.text
            expected = short_featurizer.blocks([block.title], [text])
            assert words(batch["block_token_ids"][row]) == words(
                expected["token_ids"].numpy()[0]
            )
            seen.add((removed, number))
    assert {(0, 0), (0, 1), (1, 0), (1, 1)} <= seen


def test_sentences_are_removed_as_often_as_told(make):
    for rate in (0.0, 0.9, 1.0):
        dataset = make(mask_rate=rate)
        removed = np.concatenate(
            [dataset.batch(step)["is_removed"] for step in range(40)]
        )
        # 480 draws: three standard deviations are 0.04.
        assert removed.mean() == pytest.approx(rate, abs=0.05)


def test_blocks_of_one_sentence_are_kept_only_unless_removed(make, corpus):
    single = {
        block.block_id for block in corpus if len(block.sentence_starts) == 1
    }
    assert single
    everything = make(mask_rate=1.0)
    for step in range(3 * everything.steps_per_epoch):
        assert not single & set(everything.batch_ids(step).tolist())
    nothing = make(mask_rate=0.0)
    seen = set()
    for step in range(6 * nothing.steps_per_epoch):
        seen |= set(nothing.batch_ids(step).tolist())
    assert seen == set(range(corpus.num_blocks))


def test_neighbours_share_a_batch(make):
    def neighbours(**options):
        dataset = make(**options)
        steps = [np.diff(dataset.batch_ids(step)) for step in range(8)]
        return (np.concatenate(steps) == 1).mean()

    # 12 blocks in runs of four have 3 inner borders among 11, less the cuts
    # by the start of the batch.
    assert neighbours(run_length=4) > 0.5
    assert neighbours(run_length=1) < 0.2
    # A twelfth of the batch is one block.
    assert neighbours(run_length=None) < 0.2


def test_every_step_is_the_same_whenever_it_is_asked_for(make):
    first, second = make(), make()
    steps = [5, 0, 9, 5]
    for step in steps:
        batch, other = first.batch(step), second.batch(step)
        for name, value in batch.items():
            np.testing.assert_array_equal(value, other[name])
    other = make(seed=1).batch_ids(0)
    assert other.tolist() != first.batch_ids(0).tolist()
    epoch = first.steps_per_epoch
    assert first.batch_ids(epoch).tolist() != first.batch_ids(0).tolist()


def test_dataset_has_the_shapes_it_says(make, short_featurizer):
    for trim in (True, False):
        dataset = make(trim=trim)
        assert list(dataset.sizes.values()) == [12, 16, 48]
        [batch] = dataset.as_dataset(3, 4).as_numpy_iterator()
        for name, spec in dataset.signature.items():
            assert spec.shape.is_compatible_with(batch[name].shape)
        if not trim:
            assert batch["block_token_ids"].shape == (12, 48)
            assert batch["query_token_ids"].shape == (12, 16)


def test_equal_blocks_have_equal_keys(make, corpus):
    dataset = make(mask_rate=0.0, batch_size=40)
    keys = {}
    for step in range(4):
        batch = dataset.batch(step)
        for block_id, key in zip(
            dataset.batch_ids(step).tolist(), batch["block_keys"], strict=True
        ):
            block = corpus[block_id]
            keys.setdefault((block.title, block.text), set()).add(int(key))
    assert all(len(found) == 1 for found in keys.values())
    assert len({min(found) for found in keys.values()}) == len(keys)


def test_batch_larger_than_the_corpus_is_refused(make):
    with pytest.raises(ValueError, match="Lower the batch size"):
        make(batch_size=1000)
