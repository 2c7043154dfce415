"""ScannGraphSearcher: ScaNN inside a graph, for servers that have its ops."""

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from realm_tf.options import ScannOptions
from realm_tf.serving.export.graph_searcher import GraphSearcher

_MIN_CANDIDATES = 100  # as in `realm_tf.retrieval.searchers.scann_searcher`


class ScannGraphSearcher(GraphSearcher):
    """Finds candidates with ScaNN's operations.

    The graph loads only where these are registered: in Python after `import
    scann.scann_ops`, or in a `tensorflow_model_server` that was linked with
    them, such as the image `google/tf-serving-scann`. What is found is scored
    exactly.

    Args:
        embeddings: float32 `(num_blocks, embedding_dim)`.
        options: `ScannOptions`; default: chosen from the number of blocks.

    Raises:
        ImportError: if ScaNN's operations cannot be loaded here.
        ValueError: if there are too few blocks.
    """

    def __init__(
        self,
        embeddings: npt.NDArray[np.float32],
        options: ScannOptions | None = None,
    ):
        super().__init__()
        self.num_rows = len(embeddings)
        self._options = (options or ScannOptions()).resolve(self.num_rows)
        self._embeddings = tf.Variable(
            embeddings, trainable=False, name="block_embeddings"
        )
        self._ops = _import_ops()
        self._state = self._build(embeddings)

    def candidates(self, query: tf.Tensor, k: int) -> tf.Tensor:
        searcher = self._ops.searcher_from_module(self._state)
        count = max(k * self._options.candidates_per_result, _MIN_CANDIDATES)
        places, _ = searcher.search(
            query,
            final_num_neighbors=min(count, self.num_rows),
            leaves_to_search=self._options.leaves_to_search,
        )
        return places

    def rows(self, places: tf.Tensor) -> tf.Tensor:
        return tf.gather(self._embeddings, places)

    def _build(self, embeddings: npt.NDArray[np.float32]) -> tf.Module:
        options = self._options
        sample = min(options.training_sample_size, self.num_rows)
        # As in `realm_tf.retrieval.searchers.scann_builder`.
        norm = float(np.sqrt(np.mean(np.sum(np.square(embeddings), axis=1))))
        builder = self._ops.builder(embeddings, 1, "dot_product")
        builder.tree(
            options.num_leaves,
            options.leaves_to_search,
            training_sample_size=sample,
        )
        builder.score_ah(
            options.dimensions_per_block,
            anisotropic_quantization_threshold=(
                options.anisotropic_threshold * norm or float("nan")
            ),
            training_sample_size=sample,
        )
        return builder.build().serialize_to_module()


def _import_ops() -> Any:
    try:
        from scann.scann_ops.py import scann_ops
    except Exception as error:  # its library raises errors of many types
        raise ImportError(
            "An export with ScaNN inside needs ScaNN's TensorFlow operations. "
            "Install them with `pip install 'scann[tf]~=1.4.2'` (Linux), or "
            "export `realm_qa`, which needs none. Received: "
            f"{type(error).__name__}: {error}"
        ) from error
    return scann_ops
