"""FixedIndex: an index that training does not refresh."""

from realm_tf.checkpoints.presets import copy_layer
from realm_tf.engine.text_embedder import TextEmbedder
from realm_tf.models.question_answerer import QuestionAnswerer
from realm_tf.training.refresh.index_follower import Retrieval


class FixedIndex:
    """The index of a model, in place of an `IndexFollower`.

    For short trainings, with `fit` of a `RealmPretrainer`.

    Args:
        qa: `QuestionAnswerer` with an index. Sentences are embedded with its
            current weights, which belong to the index.

    Raises:
        ValueError: if there is no index.
    """

    def __init__(self, qa: QuestionAnswerer):
        embedder = TextEmbedder(copy_layer(qa.query_embedder), qa.featurizer)
        self._retrieval = Retrieval(qa.require_index(), embedder, 0)
        self.corpus = self._retrieval.index.corpus

    def acquire(self, step: int) -> Retrieval:
        """The same index at every step."""
        return self._retrieval
