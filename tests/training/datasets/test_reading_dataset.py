import numpy as np
import pytest

from realm_tf.checkpoints import presets
from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.data.questions.questions import Question
from realm_tf.engine.text_embedder import TextEmbedder
from realm_tf.errors import MismatchError
from realm_tf.layers.spans import span_positions
from realm_tf.options import ReadingOptions
from realm_tf.training.datasets.answer_labels import AnswerLabels
from realm_tf.training.datasets.reading_dataset import ReadingDataset

NOWHERE = Question("nowhere", "when was it not founded?", ("England",))


@pytest.fixture(scope="module")
def make_dataset(indexed_qa, town_corpus):
    def make(questions, query_embedder=None, **options):
        labels = AnswerLabels(town_corpus, questions, indexed_qa.featurizer)
        return ReadingDataset(
            questions,
            labels,
            indexed_qa.index,
            query_embedder or indexed_qa.question_embedding,
            ReadingOptions(**options),
        )

    return make


def epoch(dataset):
    return list(dataset.as_dataset().as_numpy_iterator())


def everywhere(passage_id, town_corpus):
    """A question whose answer is marked in one block, and in all others."""
    start = town_corpus[int(passage_id)].text.index("city")
    return Question("city", "what is it?", ("city",), passage_id, (start,))


def num_spans(joint_length, max_span_width=10):
    return len(span_positions(joint_length, max_span_width)[0])


def test_shapes_of_trimmed_batches(make_dataset, town_questions):
    dataset = make_dataset(
        town_questions, batch_size=4, num_read=2, num_retrieved=6
    )
    batches = epoch(dataset)
    assert len(batches) == 2
    for features, labels in batches:
        length = features["joint_token_ids"].shape[-1]
        assert length in (32, 64)  # of 80
        assert features["query_token_ids"].shape == (4, 16)
        for name in ("joint_segment_ids", "joint_padding_mask", "block_mask"):
            assert features[name].shape == (4, 2, length)
        assert features["read_mask"].tolist() == [[1, 1]] * 4
        assert features["read_embeddings"].shape == (4, 2, 8)
        assert features["retrieved_embeddings"].shape == (4, 6, 8)
        assert features["read_bm25"].shape == (4, 2)
        assert features["retrieved_bm25"].shape == (4, 6)
        assert labels["retrieval"].shape == (4, 6)
        assert labels["reading"].shape == (4, 2, num_spans(length))
        assert labels["retrieval"].dtype == labels["reading"].dtype == np.int8


def test_shapes_are_static_without_trim(make_dataset, town_questions):
    dataset = make_dataset(
        town_questions,
        batch_size=4,
        num_read=2,
        num_retrieved=6,
        max_span_width=3,
        trim=False,
    )
    features, labels = dataset.as_dataset().element_spec
    specs = {**features, **labels}
    assert all(spec.shape.is_fully_defined() for spec in specs.values())
    assert specs["joint_token_ids"].shape == (4, 2, 80)
    assert specs["query_token_ids"].shape == (4, 16)
    assert specs["reading"].shape == (4, 2, 80 + 79 + 78)
    for features, labels in epoch(dataset):
        for name, value in {**features, **labels}.items():
            assert value.shape == specs[name].shape, name


def test_gold_spans_decode_to_the_answer(
    make_dataset, town_questions, town_corpus, short_featurizer
):
    dataset = make_dataset(
        town_questions, batch_size=10, num_read=1, trim=False
    )
    # The only block that is read is the right one.
    joint = short_featurizer.joint(
        [question.question for question in town_questions],
        [town_corpus[i].title for i in range(10)],
        [town_corpus[i].text for i in range(10)],
    )
    joint = {name: value.numpy() for name, value in joint.items()}
    rows = {row.tobytes(): i for i, row in enumerate(joint["token_ids"])}
    first, last = span_positions(80, 10)
    [(features, labels)] = epoch(dataset)
    spelled = {}
    for token_ids, gold in zip(
        features["joint_token_ids"], labels["reading"], strict=True
    ):
        i = rows[token_ids[0].tobytes()]
        [span] = np.flatnonzero(gold[0])
        start = joint["starts"][i, first[span]]
        end = joint["ends"][i, last[span]]
        spelled[i] = town_corpus[i].text.encode()[start:end].decode()
    assert spelled == {i: str(1000 + i) for i in range(10)}


def test_answers_wider_than_spans_mark_nothing(make_dataset, town_questions):
    widths = [
        epoch(
            make_dataset(
                town_questions, batch_size=10, num_read=1, max_span_width=width
            )
        )[0][1]["reading"].sum()
        for width in (1, 10)
    ]
    # "1000" is more than one wordpiece.
    assert widths == [0, 10]


@pytest.mark.parametrize("passage_id", [None, "0"])
def test_spans_are_marked_by_wordpieces_unless_the_passage_is_known(
    make_dataset, passage_id
):
    # Every block has "city"; in capitals none has it letter for letter, and
    # the first has "1000".
    question = Question("q", "which city?", ("CITY", "1000"), passage_id)
    dataset = make_dataset(
        [question], batch_size=1, num_read=5, num_retrieved=10
    )
    [(_, labels)] = epoch(dataset)
    assert (labels["retrieval"] == 1).sum() == 1
    num_right = int(labels["reading"][0].any(axis=-1).sum())
    assert num_right == (1 if passage_id else 5)


def test_required_answer_is_read_though_the_search_missed_it(
    make_dataset, town_questions, indexed_qa
):
    found = indexed_qa.search([q.question for q in town_questions], 1)
    num_found = int((found.block_ids[:, 0] == np.arange(10)).sum())
    assert num_found < 10
    for require_answer, expected in ((True, 10), (False, num_found)):
        dataset = make_dataset(
            town_questions,
            batch_size=10,
            num_retrieved=1,
            num_read=1,
            require_answer=require_answer,
        )
        [(_, labels)] = epoch(dataset)
        assert (labels["reading"].max(axis=(1, 2)) > 0).sum() == expected
        assert (labels["retrieval"] > 0).sum() == num_found


@pytest.mark.parametrize("require_answer", [True, False])
def test_questions_without_an_answer(
    require_answer, make_dataset, town_questions
):
    dataset = make_dataset(
        [*town_questions[:3], NOWHERE],
        batch_size=8,
        num_read=2,
        require_answer=require_answer,
    )
    assert dataset.num_left_out == (1 if require_answer else 0)
    [(_, labels)] = epoch(dataset)
    assert len(labels["retrieval"]) == (3 if require_answer else 4)
    # One block is right for each of the others.
    assert (labels["retrieval"] > 0).sum() == 3


def test_fewer_blocks_than_are_asked_for(make_dataset, town_questions):
    dataset = make_dataset(
        town_questions, batch_size=5, num_retrieved=5000, num_read=12
    )
    for features, labels in epoch(dataset):
        assert features["retrieved_embeddings"].shape == (5, 10, 8)
        assert labels["retrieval"].shape == (5, 10)
        expected = [[1] * 10 + [0] * 2] * 5
        assert features["read_mask"].tolist() == expected
        assert not features["block_mask"][:, 10:].any()
        assert not labels["reading"][:, 10:].any()


def test_ambiguous_blocks_are_neither_right_nor_read(make_dataset, town_corpus):
    dataset = make_dataset([everywhere("3", town_corpus)], num_read=2)
    [(features, labels)] = epoch(dataset)
    assert np.sort(labels["retrieval"][0]).tolist() == [-1] * 9 + [1]
    assert features["read_mask"].tolist() == [[1, 0]]
    # The block has the word once.
    assert labels["reading"][0].sum(axis=-1).tolist() == [1, 0]


def test_question_with_only_ambiguous_blocks_reads_nothing(
    make_dataset, town_corpus, indexed_qa
):
    [[best]] = indexed_qa.search(["what is it?"], 1).block_ids
    question = everywhere(str((best + 1) % 10), town_corpus)
    dataset = make_dataset(
        [question], num_retrieved=1, num_read=2, require_answer=False
    )
    [(features, labels)] = epoch(dataset)
    assert features["read_mask"].tolist() == [[0, 0]]
    assert labels["retrieval"].tolist() == [[-1]]
    assert not labels["reading"].any()


def test_results_that_are_missing_are_no_choice(
    make_dataset, town_questions, indexed_qa, monkeypatch
):
    search = indexed_qa.index.search

    def search_with_a_gap(embeddings, k, **keywords):
        found = search(embeddings, k, **keywords)
        found.block_ids[:, -1] = -1
        return found

    monkeypatch.setattr(indexed_qa.index, "search", search_with_a_gap)
    dataset = make_dataset(town_questions, batch_size=10, num_retrieved=6)
    [(_, labels)] = epoch(dataset)
    assert (labels["retrieval"][:, -1] == -1).all()
    assert (labels["retrieval"][:, :-1] >= 0).all()


def test_new_weights_find_new_candidates_in_the_next_epoch(
    make_dataset, town_questions, indexed_qa
):
    layer = presets.copy_layer(indexed_qa.block_embedder)
    embedder = TextEmbedder(layer, indexed_qa.featurizer)
    question = town_questions[0]
    dataset = make_dataset([question], embedder, num_retrieved=3)
    batches = dataset.as_dataset()
    candidates = []
    for _ in range(2):
        [(features, _)] = batches.as_numpy_iterator()
        candidates.append(features["retrieved_embeddings"])
        query = embedder.questions([question.question])
        block_ids = indexed_qa.index.search(query, 3).block_ids
        np.testing.assert_array_equal(
            candidates[-1], indexed_qa.index.embeddings(block_ids)
        )
        # The opposite embedding ranks all blocks the other way round.
        layer.layer_norm.gamma.assign(-layer.layer_norm.gamma)
    assert not np.array_equal(*candidates)


def test_a_resumed_epoch_has_the_candidates_of_its_start(
    make_dataset, town_questions, indexed_qa
):
    layer = presets.copy_layer(indexed_qa.block_embedder)
    embedder = TextEmbedder(layer, indexed_qa.featurizer)
    options = {"num_retrieved": 3, "batch_size": 2}
    dataset = make_dataset(town_questions, embedder, **options)
    dataset.begin(1)
    expected = epoch(dataset)
    state = {name: np.asarray(x) for name, x in dataset.state().items()}
    layer.layer_norm.gamma.assign(-layer.layer_norm.gamma)
    resumed = make_dataset(town_questions, embedder, **options)
    resumed.restore(state)
    resumed.begin(1)
    # A step changes weights before its batch is made.
    layer.layer_norm.gamma.assign(2 * layer.layer_norm.gamma)
    batches = [*resumed.as_dataset(2).as_numpy_iterator()]
    assert len(batches) == 3
    for (features, _), (before, _) in zip(batches, expected[2:], strict=True):
        for name, values in features.items():
            np.testing.assert_array_equal(values, before[name])
    [(features, _), *_] = epoch(
        make_dataset(town_questions, embedder, **options)
    )
    name = "retrieved_embeddings"
    assert not np.array_equal(features[name], expected[0][0][name])


def test_a_new_weight_searches_again_and_embeds_nothing_again(
    town_questions, town_corpus, indexed_qa, monkeypatch
):
    questions, weights = town_questions[:1], [0.0]
    dataset = ReadingDataset(
        questions,
        AnswerLabels(town_corpus, questions, indexed_qa.featurizer),
        indexed_qa.index,
        indexed_qa.question_embedding,
        ReadingOptions(batch_size=1, num_retrieved=3),
        lambda: weights[-1],
    )
    texts = [questions[0].question]
    query = indexed_qa.question_embedding.questions(texts)
    for weight in (0.0, 100.0):
        weights.append(weight)
        [(features, _)] = epoch(dataset)
        found = indexed_qa.index.search(
            query, 3, texts=texts, lexical_weight=weight
        )
        np.testing.assert_array_equal(
            features["retrieved_embeddings"],
            indexed_qa.index.embeddings(found.block_ids),
        )
        np.testing.assert_array_equal(
            features["retrieved_bm25"],
            indexed_qa.index.bm25(texts, found.block_ids),
        )
        monkeypatch.setattr(TextEmbedder, "questions", None)


@pytest.mark.parametrize(
    ("num_questions", "batch_size", "num_batches"),
    [(10, 3, 3), (10, 32, 1), (100, 3, 33)],
)
def test_num_batches_equals_what_is_yielded(
    num_questions, batch_size, num_batches, make_dataset, town_questions
):
    questions = (town_questions * 10)[:num_questions]
    dataset = make_dataset(
        questions, batch_size=batch_size, num_read=1, num_retrieved=2
    )
    assert dataset.num_batches == num_batches
    assert int(dataset.as_dataset().cardinality()) == num_batches
    assert len(epoch(dataset)) == num_batches


def test_order_is_decided_by_the_seed(make_dataset, town_questions):
    def order(seed):
        dataset = make_dataset(
            town_questions, batch_size=5, num_read=1, seed=seed
        )
        return [f["query_token_ids"].tolist() for f, _ in epoch(dataset)]

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_no_answer_at_all_is_refused(make_dataset):
    with pytest.raises(ValueError, match="must have an answer in the corpus"):
        make_dataset([NOWHERE])


def test_labels_of_another_corpus_are_refused(
    indexed_qa, short_featurizer, tmp_path
):
    articles = [Article("1", "paris", "paris was founded in 1000.")]
    other = build_corpus(articles, tmp_path / "other", short_featurizer)
    questions = [Question("1", "when?", ("1000",))]
    with pytest.raises(MismatchError, match="must be of the same corpus"):
        ReadingDataset(
            questions,
            AnswerLabels(other, questions, short_featurizer),
            indexed_qa.index,
            indexed_qa.question_embedding,
            ReadingOptions(),
        )


def test_what_is_left_over_can_be_a_last_batch(make_dataset, town_questions):
    dataset = make_dataset(
        town_questions,
        batch_size=4,
        num_read=2,
        num_retrieved=6,
        drop_remainder=False,
    )
    sizes = [len(x["read_mask"]) for x, _ in epoch(dataset)]
    assert sorted(sizes) == [2, 4, 4]
    assert dataset.num_batches == 3
    whole = make_dataset(town_questions[:8], batch_size=4, drop_remainder=False)
    assert whole.num_batches == 2
