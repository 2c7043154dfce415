"""MaskedSentenceOptions: how batches of masked sentences are made."""

import dataclasses

CANDIDATES = ("search", "mentions")
OWN_BLOCK = ("exclude", "cut")


@dataclasses.dataclass(frozen=True)
class MaskedSentenceOptions:
    """How the batches of `MaskedSentenceDataset` are made.

    Args:
        batch_size: sentences, over all replicas. Published: 512.
        num_candidates: blocks for each, the null block counted.
        candidates: `"search"` retrieves them; `"mentions"` takes other blocks
            that have the masked span, so that an encoder learns to read from
            every sentence, and needs `RecurringSpanMasks`.
        own_block: `"exclude"` leaves the block of the sentence out of what is
            retrieved, as published; `"cut"` leaves the sentence alone out of
            it, for a corpus that says most things once.
        query_length: wordpieces of a sentence, special tokens counted.
        max_masks: wordpieces of a sentence in the loss; others are masked and
            not counted.
        exclude_neighbours: leave out all other blocks of the sentence's
            article, too; for sentences of the corpus that is searched.
        trim: pad to the longest row of a batch in place of the full length.
            Static shapes (TPU, XLA) need `False`.
        seed: of order, sentences and masks.
    """

    batch_size: int = 512
    num_candidates: int = 8
    candidates: str = "search"
    own_block: str = "exclude"
    query_length: int = 96
    max_masks: int = 10
    exclude_neighbours: bool = False
    trim: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (
            ("batch_size", 1),
            ("num_candidates", 1),
            ("query_length", 3),
            ("max_masks", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(
                    f"`{name}` must be {least} or more. Received: "
                    f"{name}={getattr(self, name)}. Leave it out for "
                    f"{getattr(type(self), name)}."
                )
        for name, choices in (
            ("candidates", CANDIDATES),
            ("own_block", OWN_BLOCK),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"`{name}` must be one of {choices}. Received: "
                    f"{name}={getattr(self, name)!r}. Leave it out for "
                    f"{getattr(type(self), name)!r}."
                )

    @property
    def searches(self) -> bool:
        """Whether there is anything to retrieve."""
        return self.num_candidates > 1 and self.candidates == "search"
