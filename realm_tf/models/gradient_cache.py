"""One training step on a large batch, embedded chunk by chunk (TensorFlow).

The loss needs the embeddings of all rows, but not what the backbone computed on
the way to them. So the rows are embedded twice: first for the loss, whose
gradient by the embeddings is kept, then for the gradient by the weights.

The gradient is that of the whole batch, but comes summed by table row: where
`BertAdamW` clips, its `official_clipping` counts the summed row in place of
each look-up, and the step may differ by a few per cent.

Source: Gao et al., 2021 (arXiv:2101.06983).
"""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from realm_tf.layers.backbone_layer import FEATURES


def cached_train_step(model: Any, data: Any) -> dict[str, Any]:
    """As `model.train_step`, in the memory of `model.chunk_size` rows.

    Args:
        model: `InverseClozePretrainer`, with `chunk_size`.
        data: features, alone or in a tuple.

    Returns:
        dict of metrics, as `train_step` does.
    """
    x = data[0] if isinstance(data, tuple) else data
    # Dropout must draw the same when a chunk is re-embedded.
    seeds = [v for v in model.variables if "seed" in v.name]
    before = [tf.identity(seed.value) for seed in seeds]
    embeddings = {
        f"{prefix}_embeddings": _embed(model, embedder, x, prefix)
        for prefix, embedder in model.towers
    }
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        loss = model.compute_loss(x=x, y_pred=embeddings, training=True)
        scaled = model.optimizer.scale_loss(loss)
    # As Keras does: the mean over the replicas is the mean over the batch.
    num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
    tracker = next(m for m in model.metrics if m.name == "loss")
    tracker.update_state(
        loss * num_replicas, sample_weight=tf.shape(x["is_removed"])[0]
    )
    by_embedding = tape.gradient(scaled, embeddings)
    for seed, value in zip(seeds, before, strict=True):
        seed.assign(value)
    weights = model.trainable_weights
    total = [tf.zeros(w.shape, w.dtype) for w in weights]
    for prefix, embedder in model.towers:
        total = _add_gradients(
            total,
            weights,
            functools.partial(_embed_rows, model, embedder, x, prefix),
            by_embedding[f"{prefix}_embeddings"],
            model.chunk_size,
        )
    model.optimizer.apply_gradients(zip(total, weights, strict=True))
    return model.get_metrics_result()


def _rows(x: Any, prefix: str, start: Any, size: int | None) -> dict[str, Any]:
    return {
        name: x[f"{prefix}_{name}"][start : start + size] for name in FEATURES
    }


def _embed_rows(
    model: Any, embedder: Any, x: Any, prefix: str, start: tf.Tensor
) -> tf.Tensor:
    rows = _rows(x, prefix, start, model.chunk_size)
    return embedder(rows, training=True)


def _embed(model: Any, embedder: Any, x: Any, prefix: str) -> tf.Tensor:
    size = model.chunk_size
    num_rows = tf.shape(x[f"{prefix}_token_ids"])[0]
    num_chunks = -(-num_rows // size)
    chunks = tf.TensorArray(tf.float32, num_chunks, infer_shape=False)

    def body(i: tf.Tensor, chunks: tf.TensorArray) -> tuple[Any, Any]:
        chunk = _embed_rows(model, embedder, x, prefix, i * size)
        return i + 1, chunks.write(i, chunk)

    _, chunks = tf.while_loop(
        lambda i, _: i < num_chunks, body, [0, chunks], parallel_iterations=1
    )
    return tf.ensure_shape(chunks.concat(), [None, embedder.embedding_dim])


def _add_gradients(
    total: list[tf.Tensor],
    weights: list[Any],
    embed: Callable[[tf.Tensor], tf.Tensor],
    by_embedding: tf.Tensor,
    size: int | None,
) -> list[tf.Tensor]:
    num_rows = tf.shape(by_embedding)[0]

    def body(start: tf.Tensor, *sums: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            chunk = embed(start)
        gradients = tape.gradient(
            chunk,
            weights,
            output_gradients=by_embedding[start : start + size],
        )
        return [
            start + size,
            *(
                s if g is None else s + tf.convert_to_tensor(g)
                for s, g in zip(sums, gradients, strict=True)
            ),
        ]

    _, *total = tf.while_loop(
        lambda start, *_: start < num_rows,
        body,
        [0, *total],
        parallel_iterations=1,
    )
    return total
