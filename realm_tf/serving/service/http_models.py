"""What requests and replies of the query service look like."""

from typing import Annotated, Any

import pydantic

from realm_tf.data.questions.question_texts import check_questions
from realm_tf.errors import BadRequestError, TooLargeError
from realm_tf.options import ServiceOptions

MOST_ALTERNATIVES = 20


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)


class Questions(_Strict):
    """One question or several."""

    question: str | None = pydantic.Field(None, description="One question.")
    questions: list[str] | None = pydantic.Field(
        None,
        description="Several questions, in place of `question`.",
        fail_fast=True,
    )

    def texts(self, options: ServiceOptions) -> list[str]:
        """The questions, checked.

        Raises:
            BadRequestError: if there are none, or one has no letter and no
                digit.
            TooLargeError: if there are too many, or one is too long.
        """
        if (self.question is None) == (self.questions is None):
            raise BadRequestError(
                "Either `question` or `questions` must be given. Received: "
                f"{'neither' if self.question is None else 'both'}."
            )
        texts = [self.question] if self.question is not None else self.questions
        assert texts is not None
        if len(texts) > options.max_questions:
            raise TooLargeError(
                f"`questions` must hold at most {options.max_questions}. "
                f"Received: {len(texts)}. Send several requests."
            )
        for text in texts:
            size = len(text.encode())
            if size > options.max_question_bytes:
                raise TooLargeError(
                    "A question must not be longer than "
                    f"{options.max_question_bytes} bytes. Received: {size}."
                )
        try:
            return check_questions(texts)
        except ValueError as error:
            raise BadRequestError(str(error)) from error


class AskRequest(Questions):
    """Questions to be answered."""

    top_k: int | None = pydantic.Field(
        None,
        ge=1,
        description="Blocks retrieved, over which p(z|x) is; default: as many "
        "as are read.",
    )
    alternatives: int = pydantic.Field(
        4,
        ge=0,
        le=MOST_ALTERNATIVES,
        description="Most other answers, of those that the reader exports.",
    )
    threshold: float | None = pydantic.Field(
        None,
        ge=0,
        le=1,
        description="Probability that `found` asks for; default: that of the "
        "model's calibration.",
    )


class SearchRequest(Questions):
    """Questions for which blocks are retrieved."""

    top_k: int = pydantic.Field(5, ge=1, description="Blocks for a question.")


class Document(_Strict):
    """A document to add, or to replace the one of its id."""

    id: str = pydantic.Field(min_length=1)
    title: str = ""
    text: str = pydantic.Field(min_length=1)


class DocumentsRequest(_Strict):
    """Documents to add or replace."""

    documents: list[Document] = pydantic.Field(min_length=1, fail_fast=True)


class IndexRequest(_Strict):
    """Which index version to use from now on."""

    compact: bool = pydantic.Field(
        False,
        description="First fold added and deleted documents into a new corpus "
        "and version, which takes a while.",
    )
    roll_back_to: int | None = pydantic.Field(
        None,
        ge=1,
        description="An older version, which becomes the newest under a new "
        "number. Default: switch to the newest.",
    )


_Role = Annotated[
    str,
    pydantic.Field(
        description="writer; waiting, to become it when there is none; reader."
    ),
]


class BlockReply(pydantic.BaseModel):
    """A block of a document."""

    block_id: int
    document_id: str
    title: str
    text: str


class RankedBlockReply(BlockReply):
    """A block that was retrieved."""

    probability: Annotated[
        float, pydantic.Field(description="p(z|x) among those retrieved.")
    ]
    score: Annotated[
        float,
        pydantic.Field(description="e(x) . e(z) + w bm25(x, z)."),
    ]
    lexical_score: Annotated[
        float,
        pydantic.Field(description="The part of `score` that words have."),
    ]


class SpanReply(pydantic.BaseModel):
    """An answer where it stands."""

    answer: str
    start: Annotated[
        int, pydantic.Field(description="First character in `block.text`.")
    ]
    end: int
    byte_start: int
    byte_end: int
    probability: Annotated[
        float, pydantic.Field(description="Sum over all that spell it.")
    ]
    retrieval_probability: Annotated[
        float, pydantic.Field(description="p(z|x).")
    ]
    reading_probability: Annotated[
        float, pydantic.Field(description="p(y|z,x).")
    ]
    block: BlockReply


class AnswerReply(SpanReply):
    """The best answer to a question, with all evidence."""

    question: str
    found: Annotated[
        bool,
        pydantic.Field(
            description="`probability` reaches `threshold`. If not, there is "
            "no answer, and `answer` is a guess."
        ),
    ]
    alternatives: list[SpanReply]
    blocks: list[RankedBlockReply]
    truncated: Annotated[
        bool, pydantic.Field(description="The question was cut.")
    ]
    threshold: float
    index_version: int
    models: dict[str, int]


class AskReply(pydantic.BaseModel):
    """Answers in the order of the questions."""

    answers: list[AnswerReply]


class FoundReply(pydantic.BaseModel):
    """What was retrieved for a question, best first."""

    question: str
    truncated: bool
    blocks: list[RankedBlockReply]
    index_version: int
    models: dict[str, int]


class SearchReply(pydantic.BaseModel):
    """Results in the order of the questions."""

    results: list[FoundReply]


class DocumentsReply(pydantic.BaseModel):
    """What was changed; it is on the disk."""

    added: int
    deleted: int
    num_blocks: int
    index_version: int
    num_updates: Annotated[
        int,
        pydantic.Field(
            description="Of the version. A service with at least as many, or "
            "a higher version, shows the change."
        ),
    ]


class IndexReply(pydantic.BaseModel):
    """The index in use."""

    role: _Role
    version: int
    versions: list[int]
    age_seconds: float
    corpus: str
    num_blocks: int
    num_updates: int
    num_blocks_of_corpus: int
    embedding_dim: int
    searcher: str
    searcher_recall: Any
    analyzer: str | None
    fingerprint: str
    embedder_fingerprint: str


class HealthReply(pydantic.BaseModel):
    """Whether the service can be used, and why not."""

    status: str
    problem: str = ""
    role: _Role
    index_version: int
    num_updates: int


class ErrorReply(pydantic.BaseModel):
    """Why there is no other reply."""

    error: str


class NotWriterReply(ErrorReply):
    """The index is damaged, or another service makes its changes."""

    writer: Annotated[
        str | None,
        pydantic.Field(description="URL of that service, if it is known."),
    ] = None
