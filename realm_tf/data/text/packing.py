"""Wordpieces that are known already to padded rows, with NumPy.

The same layout as that of `Featurizer`, whose inputs are texts.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from realm_tf.data.text.featurizer import Featurizer

_BUCKET = 16  # wordpieces; padded lengths are multiples of it
_JOINT_BUCKET = 32


def pack_singles(
    rows: Sequence[np.ndarray], length: int, featurizer: Featurizer
) -> dict[str, np.ndarray]:
    """`[CLS] part [SEP]`, all segments 0.

    Args:
        rows: wordpieces of each row, without special tokens.
        length: wordpieces of a padded row; longer ones lose their end.
        featurizer: `Featurizer` with the special tokens.

    Returns:
        dict of int32 `(len(rows), length)` arrays, see `Featurizer`.
    """
    features = _empty(len(rows), length)
    for i, ids in enumerate(rows):
        ids = ids[: length - 2]
        row = features["token_ids"][i]
        row[0] = featurizer.cls_id
        row[1 : 1 + len(ids)] = ids
        row[1 + len(ids)] = featurizer.sep_id
        features["padding_mask"][i, : len(ids) + 2] = 1
    return features


def pack_pairs(
    rows: Sequence[tuple[np.ndarray, np.ndarray]],
    length: int,
    featurizer: Featurizer,
) -> dict[str, np.ndarray]:
    """`[CLS] first [SEP] second [SEP]`, segments 0 up to the first `[SEP]`.

    Args:
        rows: wordpieces of both parts, without special tokens. The first must
            leave room for three of these.
        length: wordpieces of a padded row; the second part loses its end.
        featurizer: `Featurizer` with the special tokens.

    Returns:
        dict of int32 `(len(rows), length)` arrays, see `Featurizer`.
    """
    features = _empty(len(rows), length)
    for i, (first, second) in enumerate(rows):
        middle = len(first) + 2
        second = second[: length - middle - 1]
        end = middle + len(second) + 1
        row = features["token_ids"][i]
        row[0] = featurizer.cls_id
        row[1 : middle - 1] = first
        row[middle - 1] = row[end - 1] = featurizer.sep_id
        row[middle : end - 1] = second
        features["segment_ids"][i, middle:end] = 1
        features["padding_mask"][i, :end] = 1
    return features


def trim(features: dict[str, Any], bucket: int = _BUCKET) -> dict[str, Any]:
    """Cuts padding that every row of a batch has.

    Args:
        features: dict of int arrays `(..., length)`, `padding_mask` among
            those whose name ends so.
        bucket: the new length is a multiple of it, so that shapes stay few.
    """
    mask = next(v for k, v in features.items() if k.endswith("padding_mask"))
    mask = np.asarray(mask)
    used = int(mask.sum(axis=-1).max(initial=1))
    length = min(-(-used // bucket) * bucket, mask.shape[-1])
    return {name: value[..., :length] for name, value in features.items()}


def trim_joint(features: dict[str, Any], max_span_width: int) -> dict[str, Any]:
    """`trim` for joint inputs.

    Args:
        features: see `trim`.
        max_span_width: of the reader, which takes nothing shorter.
    """
    return trim(features, max(_JOINT_BUCKET, max_span_width))


def _empty(rows: int, length: int) -> dict[str, np.ndarray]:
    return {
        name: np.zeros((rows, length), np.int32)
        for name in ("token_ids", "segment_ids", "padding_mask")
    }
