"""Batches of rows of similar length, in random order."""

import numpy as np

_BATCHES_SORTED_TOGETHER = 32


def length_batches(
    lengths: np.ndarray,
    batch_size: int,
    rng: np.random.Generator,
    *,
    drop_remainder: bool = True,
) -> list[np.ndarray]:
    """Shuffles rows, then groups those of similar length.

    Padding then costs little, and a batch is still a random draw from the
    rows of about its length.

    Args:
        lengths: `(num_rows,)`.
        batch_size: rows in each batch. Rows that fill no batch are skipped;
            another order skips others.
        rng: source of the order.
        drop_remainder: `False` puts what is left over into a last batch.

    Returns:
        list of int arrays `(batch_size,)`: the rows of each batch.
    """
    order = rng.permutation(len(lengths))
    batches = []
    width = batch_size * _BATCHES_SORTED_TOGETHER
    for start in range(0, len(order), width):
        group = order[start : start + width]
        group = group[np.argsort(lengths[group], kind="stable")]
        spare = rng.choice(
            len(group), size=len(group) % batch_size, replace=False
        )
        kept = np.delete(group, spare)
        batches += list(kept.reshape(-1, batch_size))
        if len(spare) and not drop_remainder:
            batches.append(group[spare])
    return [batches[i] for i in rng.permutation(len(batches))]
