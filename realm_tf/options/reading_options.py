"""ReadingOptions: how batches for the reader are made."""

import dataclasses

from realm_tf.options.field_rules import check_fields, limited


@dataclasses.dataclass(frozen=True)
class ReadingOptions:
    """How the batches of `ReadingDataset` are made.

    Args:
        batch_size: questions in a batch.
        num_retrieved: blocks in the retrieval loss of a question, if the index
            has as many. Published: 5000.
        num_read: blocks that are read for a question. Published: 5.
        max_span_width: longest answer of the reader, in tokens.
        require_answer: read the best-ranked block with the answer where the
            search did not find one, and skip questions without any. The
            original does neither, and learns nothing from such questions.
        trim: pad to the longest row of a batch, not to `joint_length`. Static
            shapes (TPU, XLA) need `False`.
        seed: seed of the order.
    """

    batch_size: int = 16
    num_retrieved: int = 5000
    num_read: int = 5
    max_span_width: int = 10
    require_answer: bool = True
    trim: bool = True
    seed: int = limited(0, least=0)

    def __post_init__(self) -> None:
        check_fields(self)
