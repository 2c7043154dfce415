import numpy as np
import pytest

from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.data.spans.date_number_tagger import DateNumberTagger
from realm_tf.data.spans.salient_spans import tag_corpus
from realm_tf.data.spans.sentence_masks import (
    RandomTokenMasks,
    RecurringSpanMasks,
    SalientSpanMasks,
)
from realm_tf.options import MaskedSentenceOptions
from realm_tf.retrieval.searchers.searcher import SearchResult
from realm_tf.training.datasets.candidate_blocks import without_sentence
from realm_tf.training.datasets.masked_sentence_dataset import (
    MaskedSentenceDataset,
)
from realm_tf.training.refresh.index_follower import IndexFollower

QUERY_LENGTH, BLOCK_LENGTH = 24, 48


@pytest.fixture
def spans(town_corpus, tmp_path):
    return tag_corpus(town_corpus, DateNumberTagger(), tmp_path / "spans")


@pytest.fixture
def make(exchange, refresher, snapshot, town_corpus, spans):
    snapshot(0)
    refresher.refresh()

    def make_dataset(text=town_corpus, masks=None, **options):
        follower = IndexFollower(
            exchange,
            town_corpus,
            exchange.qa.featurizer,
            exchange.qa.query_embedder,
        )
        options = {
            "batch_size": 4,
            "num_candidates": 3,
            "query_length": QUERY_LENGTH,
            **options,
        }
        return MaskedSentenceDataset(
            text,
            masks or SalientSpanMasks(spans),
            follower,
            exchange.qa.featurizer,
            MaskedSentenceOptions(**options),
        )

    return make_dataset


def words(row):
    return [int(i) for i in row if i > 0]


def block_of(candidate, corpus, featurizer):
    """Id of the block whose title a candidate begins with."""
    title = candidate[1 : candidate.index(featurizer.sep_id)]
    titles = [corpus.title_ids(i).tolist() for i in range(len(corpus))]
    return titles.index(title)


def test_features_are_those_of_the_specification(
    make, short_featurizer, town_corpus
):
    dataset = make()
    batch = dataset.batch(0)
    f = short_featurizer
    for row, sentence in enumerate(dataset.sentences(0)):
        # The year is the one salient span of each block.
        masked = np.array(sentence.token_ids)
        text = sentence.draw.text
        raw = text.replace(text.split()[-1], "")
        assert raw == "It was founded in the year "
        masked[sentence.places] = f.mask_id
        assert words(batch["query_token_ids"][row]) == [
            f.cls_id,
            *masked,
            f.sep_id,
        ]
        count = len(sentence.places)
        np.testing.assert_array_equal(
            batch["mask_positions"][row, :count], sentence.places + 1
        )
        np.testing.assert_array_equal(
            batch["mask_ids"][row, :count],
            np.array(sentence.token_ids)[sentence.places],
        )
        assert batch["mask_weights"][row].sum() == count
        # The null block comes first, in the layout of a block.
        null = batch["candidate_token_ids"][row, 0]
        assert words(null) == [f.cls_id, f.sep_id, f.sep_id]
        segments = batch["candidate_segment_ids"][row, 0]
        assert segments[:4].tolist() == [0, 0, 1, 0]
        assert words(batch["joint_token_ids"][row, 0]) == [
            f.cls_id,
            *masked,
            f.sep_id,
            f.sep_id,
        ]
        for place in (1, 2):
            candidate = words(batch["candidate_token_ids"][row, place])
            block_id = block_of(candidate, town_corpus, f)
            assert block_id != sentence.block.block_id
            body = town_corpus.token_ids(block_id).tolist()
            end = [f.sep_id, *body, f.sep_id]
            assert candidate[-len(end) :] == end
            joint = words(batch["joint_token_ids"][row, place])
            assert joint == [f.cls_id, *masked, f.sep_id, *body, f.sep_id]
    assert batch["candidate_mask"].tolist() == [[1, 1, 1]] * 4


def test_candidates_are_the_best_of_the_search(
    make, short_featurizer, town_corpus
):
    dataset = make()
    batch = dataset.batch(2)
    retrieval = dataset.candidates.follower.acquire(2)
    query = {
        name: batch[f"query_{name}"]
        for name in ("token_ids", "segment_ids", "padding_mask")
    }
    found = retrieval.index.search(retrieval.embedder.features(query), 10)
    for row, sentence in enumerate(dataset.sentences(2)):
        ranked = [i for i in found.block_ids[row].tolist() if i >= 0]
        ranked.remove(sentence.block.block_id)
        used = [
            block_of(words(candidate), town_corpus, short_featurizer)
            for candidate in batch["candidate_token_ids"][row, 1:]
        ]
        assert used == ranked[:2]


def test_null_block_alone_needs_no_index(make, short_featurizer, town_corpus):
    expected = make(num_candidates=2).batch(0)
    masks = make().masks
    options = {"batch_size": 4, "query_length": QUERY_LENGTH}
    batch = MaskedSentenceDataset(
        town_corpus,
        masks,
        None,
        short_featurizer,
        MaskedSentenceOptions(num_candidates=1, **options),
    ).batch(0)
    for name, value in batch.items():
        if name.startswith(("candidate", "joint")):
            used = expected[name][:, :1][..., : value.shape[-1]]
            np.testing.assert_array_equal(value, used)
        elif name != "index_age":
            np.testing.assert_array_equal(value, expected[name])
    with pytest.raises(ValueError, match="`follower` must be given"):
        MaskedSentenceDataset(town_corpus, masks, None, short_featurizer)


def test_the_own_block_may_be_kept_without_the_sentence(
    make, short_featurizer, town_corpus, spans
):
    f = short_featurizer
    dataset = make(num_candidates=11, own_block="cut")
    batch = dataset.batch(0)
    for row, sentence in enumerate(dataset.sentences(0)):
        title = town_corpus.title_ids(sentence.block.block_id).tolist()
        own = [
            words(candidate)
            for candidate in batch["candidate_token_ids"][row, 1:]
            if words(candidate)[1 : 1 + len(title)] == title
        ]
        rest = without_sentence(sentence).text
        if not rest:
            assert not own
            continue
        body = f.tokenize([rest]).row(0)[0].tolist()
        assert own == [[f.cls_id, *title, f.sep_id, *body, f.sep_id]]
        assert sentence.draw.text not in rest


def test_missing_candidates_are_masked(make):
    batch = make(num_candidates=14).batch(0)
    # Nine other blocks and the null block.
    assert batch["candidate_mask"].sum(-1).tolist() == [10] * 4
    assert batch["candidate_token_ids"].shape[1] == 14


def test_t6_own_block_alone_falls_back_to_the_null_block(make):
    dataset = make()
    own = [[s.block.block_id] for s in dataset.sentences(0)]
    found = SearchResult(np.ones((4, 1), np.float32), np.array(own))
    dataset.candidates.follower.acquire(0).index.search = lambda *_: found
    batch = dataset.batch(0)
    assert batch["candidate_mask"].tolist() == [[1, 0, 0]] * 4
    null, *others = batch["candidate_token_ids"].swapaxes(0, 1)
    for other in others:
        np.testing.assert_array_equal(other, null)


def test_mentions_are_other_blocks_that_have_the_span(
    make, short_featurizer, tmp_path
):
    years = [1815, 1815, 1815, 1816, 1816, 1817]
    articles = [
        Article(
            str(i), "city", f"It was founded in the year {year}. {'no ' * i}"
        )
        for i, year in enumerate(years)
    ]
    text = build_corpus(articles, tmp_path / "text", short_featurizer)
    spans = tag_corpus(text, DateNumberTagger(), tmp_path / "text.spans")
    masks = RecurringSpanMasks(spans, text)
    dataset = MaskedSentenceDataset(
        text,
        masks,
        None,
        short_featurizer,
        MaskedSentenceOptions(
            batch_size=8,
            num_candidates=3,
            candidates="mentions",
            query_length=QUERY_LENGTH,
        ),
    )
    batch = dataset.batch(3)
    for row, sentence in enumerate(dataset.sentences(3)):
        block_id = sentence.block.block_id
        others = [
            other
            for other, year in enumerate(years)
            if year == years[block_id] and other != block_id
        ]
        mask = batch["candidate_mask"][row]
        assert mask.tolist() == [1] * (1 + len(others)) + [0] * (
            2 - len(others)
        )
        found = {
            tuple(words(candidate))
            for candidate in batch["joint_token_ids"][row][1 : mask.sum()]
        }
        assert len(found) == len(others)
        for ids in found:
            assert set(sentence.token_ids[sentence.places]) <= set(ids)
    again = dataset.batch(3)
    for name, value in batch.items():
        np.testing.assert_array_equal(value, again[name])
    assert not batch["index_age"].any()


def test_mentions_need_recurring_spans(make):
    with pytest.raises(
        ValueError, match='Received: SalientSpanMasks.*choose candidates="sea'
    ):
        make(candidates="mentions")


def test_sentences_may_be_of_another_corpus(
    make, short_featurizer, town_corpus, tmp_path
):
    # One article is a copy of a block of the corpus that is searched.
    copy = town_corpus[3]
    text = build_corpus(
        [
            Article("news", "", "The year was 1815 in paris."),
            Article("copy", copy.title, copy.text),
        ],
        tmp_path / "news",
        short_featurizer,
    )
    spans = tag_corpus(text, DateNumberTagger(), tmp_path / "news.spans")
    dataset = make(text, SalientSpanMasks(spans), num_candidates=12)
    batch = dataset.batch(0)
    for sentence, mask in zip(
        dataset.sentences(0), batch["candidate_mask"], strict=True
    ):
        # The copy is excluded by its content.
        is_copy = sentence.block.document_id == "copy"
        assert mask.sum() == (10 if is_copy else 11)
    # Its ids of articles are none of the corpus that is searched.
    with pytest.raises(ValueError, match="text fingerprint=.*Leave it out"):
        make(text, SalientSpanMasks(spans), exclude_neighbours=True)

    assert make(exclude_neighbours=True).candidates.exclude_neighbours


def test_t5_what_cannot_be_masked_is_skipped_and_counted(
    make, short_featurizer, tmp_path
):
    far = "in the year of the city " * 6
    text = build_corpus(
        [
            Article("good", "", "It was founded in the year 1815."),
            Article("none", "", "Many people live there."),
            Article("late", "", f"It was {far} 1815."),
        ],
        tmp_path / "text",
        short_featurizer,
    )
    spans = tag_corpus(text, DateNumberTagger(), tmp_path / "text.spans")
    dataset = make(text, SalientSpanMasks(spans))
    for step in range(3):
        for sentence in dataset.sentences(step):
            assert sentence.block.document_id == "good"
    skipped = [dataset.figures(step)["num_skipped"] for step in range(3)]
    assert sum(skipped) > 0


def test_text_without_anything_to_mask_is_refused(
    make, short_featurizer, tmp_path
):
    text = build_corpus(
        [Article("none", "", "Many people live there.")],
        tmp_path / "text",
        short_featurizer,
    )
    spans = tag_corpus(text, DateNumberTagger(), tmp_path / "text.spans")
    dataset = make(text, SalientSpanMasks(spans))
    with pytest.raises(ValueError, match="0 of 4 sentences"):
        dataset.sentences(0)


def test_more_masks_than_are_counted(make):
    dataset = make(masks=RandomTokenMasks(1.0), max_masks=2)
    batch = dataset.batch(0)
    masked = (batch["query_token_ids"] == dataset.featurizer.mask_id).sum(-1)
    assert (masked > 2).any()
    assert (batch["mask_weights"].sum(-1) <= 2).all()


def test_batches_are_a_function_of_step_and_index(make, refresher, snapshot):
    first, second = make(), make()
    for step in (7, 0, 7):
        one, other = first.batch(step), second.batch(step)
        for name, value in one.items():
            np.testing.assert_array_equal(value, other[name])
    assert one["index_age"].tolist() == [7.0] * 4
    snapshot(5)
    refresher.refresh()
    later = first.batch(7)
    assert later["index_age"].tolist() == [2.0] * 4
    np.testing.assert_array_equal(later["mask_ids"], one["mask_ids"])
    assert make(seed=1).batch_ids(0).tolist() != first.batch_ids(0).tolist()
    turns = np.concatenate([first.batch_ids(step) for step in range(5)])
    assert np.bincount(turns).tolist() == [2] * 10


@pytest.mark.parametrize("trim", [False, True])
def test_dataset_has_the_shapes_it_says(make, trim):
    dataset = make(trim=trim)
    assert dataset.sizes == {
        "batch_size": 4,
        "num_candidates": 3,
        "query_length": QUERY_LENGTH,
        "block_length": BLOCK_LENGTH,
    }
    batches = list(dataset.as_dataset(1, 3).as_numpy_iterator())
    assert len(batches) == 2
    for name, spec in dataset.signature.items():
        for batch in batches:
            assert spec.shape.is_compatible_with(batch[name].shape)
            assert batch[name].dtype == spec.dtype.as_numpy_dtype
    if not trim:
        length = QUERY_LENGTH + BLOCK_LENGTH
        assert batches[0]["joint_token_ids"].shape == (4, 3, length)
