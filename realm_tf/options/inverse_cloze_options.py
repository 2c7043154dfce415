"""InverseClozeOptions: how batches of sentences and their blocks are made."""

import dataclasses

from realm_tf.options.field_rules import check_fields, limited


@dataclasses.dataclass(frozen=True)
class InverseClozeOptions:
    """How the batches of `InverseClozeDataset` are made.

    Args:
        batch_size: blocks in a batch, over all replicas. Published: 4096.
        mask_rate: probability that the sentence is removed from its block.
        run_length: neighbouring blocks that share a batch, as hard negatives.
            Default: a twelfth of the batch, as published.
        trim: pad to the longest row of a batch, not to the full length. Static
            shapes (TPU, XLA) need `False`.
        seed: seed of the order and the sentences.
    """

    batch_size: int = limited(4096, least=2)
    mask_rate: float = limited(0.9, least=0, most=1)
    run_length: int | None = None
    trim: bool = True
    seed: int = limited(0, least=0)

    def __post_init__(self) -> None:
        check_fields(self)
