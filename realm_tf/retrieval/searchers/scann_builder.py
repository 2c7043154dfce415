"""Builds and saves a ScaNN index; run as a program in a process of its own.

    python scann_builder.py < request.json

ScaNN aborts its process on data it does not like, and no `except` catches
that. Here the abort ends this program only, and `ScannSearcher` reports it.
Imports neither realm_tf nor TensorFlow, so that it starts in no time.
"""

import json
import sys
from typing import Any

import numpy as np
import numpy.typing as npt


def build(request: dict[str, Any]) -> None:
    """Builds the index that `request` describes.

    Args:
        request: dict of `shards` (paths of .npy files, float32 or the bits of
            bfloat16), `num_rows`, `dim`, `folder` (empty; gets ScaNN's files)
            and `options` (resolved `ScannOptions`).
    """
    # scann imports TensorFlow where it finds it, only for its graph ops.
    sys.modules["tensorflow"] = None  # type: ignore[assignment]
    from scann.scann_ops.py import scann_ops_pybind

    rows = load_rows(request["shards"], request["num_rows"], request["dim"])
    options = request["options"]
    # ScaNN means the threshold for vectors of norm 1, and reads it relative to
    # the squared norm of each vector.
    norm = float(np.sqrt(np.einsum("nd,nd->", rows, rows) / len(rows)))
    builder = scann_ops_pybind.builder(rows, 1, "dot_product")
    builder.tree(
        options["num_leaves"],
        options["leaves_to_search"],
        training_sample_size=min(options["training_sample_size"], len(rows)),
    )
    builder.score_ah(
        options["dimensions_per_block"],
        anisotropic_quantization_threshold=(
            options["anisotropic_threshold"] * norm or float("nan")
        ),
        training_sample_size=min(options["training_sample_size"], len(rows)),
    )
    # No reorder(): it would store all embeddings a second time, and candidates
    # are rescored with the stored ones anyway.
    searcher = builder.build()
    searcher.serialize(request["folder"], relative_path=True)


def load_rows(
    shards: list[str], num_rows: int, dim: int
) -> npt.NDArray[np.float32]:
    """Reads all shards into one float32 array."""
    rows = np.empty((num_rows, dim), np.float32)
    start = 0
    for path in shards:
        shard = np.load(path, mmap_mode="r", allow_pickle=False)
        part = rows[start : start + len(shard)]
        if shard.dtype == np.uint16:
            bits = part.view(np.uint32)
            bits[:] = shard
            bits <<= 16
        else:
            part[:] = shard
        start += len(shard)
    return rows


if __name__ == "__main__":
    build(json.load(sys.stdin))
