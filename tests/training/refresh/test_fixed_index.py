import numpy as np
import pytest

from realm_tf.training.refresh.fixed_index import FixedIndex


def test_index_and_its_embedder_stay(make_qa, town_corpus):
    qa = make_qa(width=8)
    with pytest.raises(ValueError, match="There must be an index"):
        FixedIndex(qa)
    qa.build_index(town_corpus)
    fixed = FixedIndex(qa)
    assert fixed.corpus is town_corpus
    before = fixed.acquire(0)
    assert (before.index, before.step) == (qa.index, 0)
    embedded = before.embedder.questions(["who?"])
    kernel = qa.query_embedder.projection.kernel
    kernel.assign_add(np.ones(kernel.shape))
    after = fixed.acquire(7)
    assert after is before
    np.testing.assert_array_equal(after.embedder.questions(["who?"]), embedded)
