"""TaggerOptions: how a tagger of names is trained."""

import dataclasses

from realm_tf.options.field_rules import check_fields, limited


@dataclasses.dataclass(frozen=True)
class TaggerOptions:
    """How `train_tagger` trains. The defaults are BERT's for such tasks.

    Args:
        epochs: passes over the sentences.
        batch_size: sentences in a batch.
        learning_rate: peak learning rate.
        seed: seed of the order of the sentences.
    """

    epochs: int = 3
    batch_size: int = 16
    learning_rate: float = 5e-5
    seed: int = limited(0, least=0)

    def __post_init__(self) -> None:
        check_fields(self)
