"""Rows of unequal length, computed in groups of about as many tokens."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

CPU_TOKENS = 2048
ACCELERATOR_TOKENS = 65536


def default_token_budget() -> int:
    """Tokens that are worth computing at once on this machine.

    On a processor more of them only leave its caches. A GPU or TPU is idle
    with few.
    """
    return ACCELERATOR_TOKENS if has_accelerator() else CPU_TOKENS


def has_accelerator() -> bool:
    """Whether there is a GPU or a TPU."""
    kinds = {device.device_type for device in tf.config.list_logical_devices()}
    return bool(kinds & {"GPU", "TPU"})


def in_groups(
    lengths: tf.Tensor,
    compute: Callable[[tf.Tensor], dict[str, tf.Tensor]],
    specs: Mapping[str, tf.TensorSpec],
    *,
    token_budget: int,
) -> dict[str, tf.Tensor]:
    """Computes rows that do not depend on each other, long ones first.

    Rows of a group are about as long, so that little is padding. A group has
    as many rows as fit into the budget, each as long as the longest, and at
    least one.

    Args:
        lengths: int32 `(num_rows,)`, tokens of each row.
        compute: from rows, int32 `(n,)`, to tensors `(n, ...)`.
        specs: of what `compute` returns, with None for the axis of the rows.
        token_budget: tokens of a group.

    Returns:
        dict of tensors `(num_rows, ...)`, in the order of `lengths`.
    """
    order = tf.argsort(lengths, direction="DESCENDING", stable=True)
    num_rows = tf.size(lengths)

    def step(start: tf.Tensor, *done: tf.Tensor) -> Any:
        longest = tf.maximum(tf.gather(lengths, tf.gather(order, start)), 1)
        end = start + tf.maximum(token_budget // longest, 1)
        more = compute(order[start:end])
        return end, *(
            tf.concat([rows, more[name]], 0)
            for name, rows in zip(specs, done, strict=True)
        )

    nothing = [
        tf.zeros([0, *spec.shape[1:]], spec.dtype) for spec in specs.values()
    ]
    _, *results = tf.while_loop(
        lambda start, *_: start < num_rows,
        step,
        (tf.constant(0), *nothing),
        shape_invariants=(
            tf.TensorShape([]),
            *(spec.shape for spec in specs.values()),
        ),
        parallel_iterations=1,  # an operation uses all processors anyway
    )
    back = tf.math.invert_permutation(order)
    return {
        name: tf.gather(rows, back)
        for name, rows in zip(specs, results, strict=True)
    }
