"""FinetuneOptions: how long and how hard a fine-tuning trains."""

import dataclasses
import math

_LEAST = {
    "retriever_batch_size": 2,
    "batch_size": 1,
    "num_retrieved": 1,
    "num_read": 1,
}


@dataclasses.dataclass(frozen=True)
class FinetuneOptions:
    """How long and how hard to train.

    The defaults are for a small trunk, some ten thousand questions and less
    than an hour on two cores. The published fine-tuning has
    `retriever_epochs=0`, `batch_size=1`, `learning_rate=1e-5`,
    `num_retrieved=5000`, `num_read=5`, `train_query_embedder=True`.

    Args:
        retriever_epochs: of the first stage, in which one embedder learns to
            bring questions to their blocks; 0 leaves it out.
        retriever_batch_size: blocks in a batch, each the negative of all
            questions of the others.
        retriever_learning_rate: peak.
        epochs: of the second stage, in which question embedder and reader
            learn together.
        batch_size: questions in a batch of the second stage.
        learning_rate: peak, of the second stage.
        num_retrieved: blocks in the retrieval loss of a question.
        num_read: blocks that are read for a question in training.
        require_answer: see `ReadingOptions`; the original does not.
        train_query_embedder: let the question embedder learn in the second
            stage too, as published. After a first stage it overfits: on 12,585
            questions of SQuAD's kind it took the answers found among five
            blocks from 0.88 to 0.84.
        train_token_embeddings: let the tables of wordpieces learn too. They
            are half of a small trunk; without them a step is a tenth faster.
        seed: of the order of the data.
    """

    retriever_epochs: int = 1
    retriever_batch_size: int = 32
    retriever_learning_rate: float = 5e-5
    epochs: int = 1
    batch_size: int = 8
    learning_rate: float = 8e-5
    num_retrieved: int = 500
    num_read: int = 2
    require_answer: bool = True
    train_query_embedder: bool = False
    train_token_embeddings: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            least = _LEAST.get(field.name, 0)
            if field.type is int:
                is_good = type(value) is int and value >= least
                rule = f"an integer of {least} or more"
            elif field.type is float:
                is_good = type(value) in (int, float) and 0 < value < math.inf
                rule = "a positive number"
            else:
                is_good = type(value) is bool
                rule = "True or False"
            if not is_good:
                raise ValueError(
                    f"`{field.name}` must be {rule}. Received: "
                    f"{field.name}={value!r}."
                )
