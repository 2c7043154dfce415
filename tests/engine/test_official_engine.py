import numpy as np
import pytest

from realm_tf.engine.official_engine import select_cell
from realm_tf.realm_qa import RealmQA


def test_block_and_span_are_two_maxima():
    assert select_cell(np.array([[1.0, 5.0], [2.0, 3.0]])) == (0, 1)
    # Cells (0, 2) and (1, 0) give (0, 0).
    assert select_cell(np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])) == (0, 0)


@pytest.fixture
def qa(make_qa, cities, tmp_path):
    qa = make_qa()
    qa.build_index(cities, tmp_path / "index")
    return qa


@pytest.fixture
def official(qa):
    other = RealmQA(
        qa.featurizer,
        qa.query_embedder,
        qa.block_embedder,
        qa.reader,
        official=True,
    )
    other.open_index(qa.index.path, qa.index.corpus)
    return other


def test_an_answer_is_words_joined_by_spaces(official):
    answer = official.ask("When was the school of Paris founded?", num_read=3)
    words = official.engine._featurizer.block(answer.block.text)
    assert answer.text in " ".join(words.words)
    assert answer.alternatives == ()
    assert 0 < answer.probability <= answer.reading_probability + 1e-6 <= 1.01
    assert (answer.start, answer.end) == (0, 0)


def test_the_same_questions_are_embedded_and_searched(qa, official):
    question = "Where is Rome?"
    np.testing.assert_allclose(
        official.search([question], 5).scores,
        qa.search([question], 5).scores,
        atol=1e-5,
    )


def test_long_questions_are_cut_by_the_room_of_the_reader(official):
    assert not official.ask("rome " * 10).truncated
    assert official.ask("rome " * 90).truncated


def test_the_choice_is_saved_and_can_be_changed(official, tmp_path):
    official.save_to_preset(tmp_path / "preset")
    assert RealmQA.from_preset(tmp_path / "preset").official
    other = RealmQA.from_preset(tmp_path / "preset", official=False)
    assert not other.official
