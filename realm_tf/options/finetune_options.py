"""FinetuneOptions: how a `RealmQA` trains on questions."""

import dataclasses

from realm_tf.options.field_rules import check_fields, limited


@dataclasses.dataclass(frozen=True)
class FinetuneOptions:
    """How a `RealmQA` trains on questions and answers.

    The defaults are for a small backbone, some ten thousand questions and less
    than an hour on two cores. The published fine-tuning has
    `retriever_epochs=0`, `batch_size=1`, `learning_rate=1e-5`,
    `num_retrieved=5000`, `num_read=5`, `train_query_embedder=True`.

    Args:
        retriever_epochs: epochs of the retriever stage, which trains the
            embedder to find the blocks of the questions; 0 skips the stage.
        retriever_batch_size: blocks in a batch of the retriever stage; every
            block is a negative for the other questions.
        num_negatives: hard negatives of each block of a batch: blocks without
            an answer that a search finds for the questions of the block. With
            1, the retriever stage embeds twice as many blocks.
        retriever_learning_rate: peak learning rate of the retriever stage.
        epochs: epochs of the reader stage, which trains the reader.
        batch_size: questions in a batch of the reader stage.
        learning_rate: peak learning rate of the reader stage.
        num_retrieved: blocks in the retrieval loss of a question.
        num_read: blocks that are read for a question in training.
        require_answer: always read a block with the answer, and skip questions
            without one. The original does neither.
        train_query_embedder: train the question embedder in the reader stage,
            too, as published. Overfits after a retriever stage: on 12,585
            questions of SQuAD's kind, answers found among five blocks fell
            from 0.88 to 0.84.
        train_token_embeddings: train the embeddings of the vocabulary, too,
            which are half of a small backbone. Without, a step is a tenth
            faster.
        seed: seed of the order of the data.
        checkpoint_minutes: minutes between checkpoints in the work folder, at
            whose newest a stopped run resumes; 0 saves every step.
    """

    retriever_epochs: int = limited(1, least=0)
    retriever_batch_size: int = limited(32, least=2)
    num_negatives: int = limited(0, least=0)
    retriever_learning_rate: float = 5e-5
    epochs: int = limited(1, least=0)
    batch_size: int = 8
    learning_rate: float = 8e-5
    num_retrieved: int = 500
    num_read: int = 2
    require_answer: bool = True
    train_query_embedder: bool = False
    train_token_embeddings: bool = False
    seed: int = limited(0, least=0)
    checkpoint_minutes: float = limited(10.0, least=0)

    def __post_init__(self) -> None:
        check_fields(self)
