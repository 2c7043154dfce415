"""MaskedSentenceOptions: how batches of masked sentences are made."""

import dataclasses
from typing import Literal

from realm_tf.options.field_rules import check_fields, limited


@dataclasses.dataclass(frozen=True)
class MaskedSentenceOptions:
    """How the batches of `MaskedSentenceDataset` are made.

    Args:
        batch_size: sentences in a batch, over all replicas. Published: 512.
        num_candidates: candidate blocks of a sentence, with the null block.
        candidates: where candidate blocks come from. "search" retrieves them;
            "mentions" takes other blocks with the masked span, which teaches
            an encoder to read and needs masks of recurring spans.
        own_block: what happens to the block that a sentence comes from.
            "exclude" never retrieves the block, as published; "cut" retrieves
            the block without the sentence, for a corpus that says most things
            once.
        query_length: tokens of a sentence, with special tokens.
        max_masks: masked tokens of a sentence that count in the loss.
        exclude_neighbours: never retrieve other blocks of the sentence's
            article; for sentences of the corpus that is searched.
        trim: pad to the longest row of a batch, not to the full length. Static
            shapes (TPU, XLA) need `False`.
        seed: seed of the order, the sentences and the masks.
    """

    batch_size: int = 512
    num_candidates: int = 8
    candidates: Literal["search", "mentions"] = "search"
    own_block: Literal["exclude", "cut"] = "exclude"
    query_length: int = limited(96, least=3)
    max_masks: int = 10
    exclude_neighbours: bool = False
    trim: bool = True
    seed: int = limited(0, least=0)

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def searches(self) -> bool:
        """Whether there is anything to retrieve."""
        return self.num_candidates > 1 and self.candidates == "search"
