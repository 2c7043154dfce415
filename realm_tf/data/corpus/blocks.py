"""Articles to blocks, the unit of retrieval."""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from realm_tf import _constants
from realm_tf.data.text.sentences import byte_offsets, split_sentences

if TYPE_CHECKING:  # spares readers of blocks the import of TensorFlow
    from realm_tf.data.text.featurizer import Featurizer

_NUM_SPECIAL_TOKENS = 3  # [CLS] title [SEP] block [SEP]


@dataclasses.dataclass(frozen=True)
class Article:
    """A document before it is cut into blocks.

    Args:
        document_id: identity within a corpus.
        title: "" for none.
        text: the body, without the title.
    """

    document_id: str
    title: str
    text: str


@dataclasses.dataclass(frozen=True)
class Block:
    """A part of an article, short enough to be embedded at once.

    Args:
        text: sentences of the article, joined by single spaces.
        title: title of the article.
        document_id: identity of the article.
        block_id: place in the corpus; `MISSING_BLOCK_ID` outside of one.
        sentence_starts: byte in the UTF-8 of `text` where each sentence begins.
        article_starts: byte in the UTF-8 of the article's text where each
            sentence begins.
    """

    text: str
    title: str = ""
    document_id: str = ""
    block_id: int = _constants.MISSING_BLOCK_ID
    sentence_starts: tuple[int, ...] = (0,)
    article_starts: tuple[int, ...] = (0,)


def block_uid(title: str, text: str) -> int:
    """Identity of a block by its content, as the original computes it.

    Example:
    >>> block_uid("", "") == 300389820231385636121021267965667021980753971172
    True

    Source: google-research/language, realm/featurization.py.
    """
    digest = hashlib.sha1(f"{title} <sep> {text}".encode())
    return int.from_bytes(digest.digest(), "big")


class TokenizedBlock(NamedTuple):
    """A block with its wordpieces, without special tokens.

    Args:
        block: `Block`.
        title_ids: int32 `(num_title_tokens,)`.
        token_ids: int32 `(num_tokens,)`, of the text.
    """

    block: Block
    title_ids: np.ndarray
    token_ids: np.ndarray


def split_into_blocks(
    article: Article,
    featurizer: "Featurizer",
    *,
    max_wordpieces: int = _constants.BLOCK_LENGTH,
) -> list[Block]:
    """Cuts an article into blocks of whole sentences.

    A block takes sentences while `[CLS] title [SEP] block [SEP]` fits into
    `max_wordpieces`. A longer sentence is a block of its own. Blocks do not
    overlap; those without a wordpiece are dropped.

    Args:
        article: what to cut.
        featurizer: its tokenizer decides the lengths.
        max_wordpieces: special tokens and title counted. The default is that
            of the released corpus.

    Returns:
        list of `Block`, in the order of the text.

    Example:
    >>> from realm_tf.data.text.featurizer import Featurizer
    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "emma", "."]
    >>> article = Article("1", "Emma", "Emma is a novel. It is long.")
    >>> for block in split_into_blocks(
    ...     article, Featurizer(words), max_wordpieces=9
    ... ):
    ...     print(block.article_starts, block.text)
    (0,) Emma is a novel.
    (17,) It is long.

    Source: Lee et al., 2019, section 7; google-research/language,
    orqa/preprocessing/wiki_preprocessor.py.
    """
    [blocks] = tokenize_articles([article], featurizer, max_wordpieces)
    return [block for block, _, _ in blocks]


def tokenize_articles(
    articles: Sequence[Article], featurizer: "Featurizer", max_wordpieces: int
) -> Iterator[list[TokenizedBlock]]:
    """`split_into_blocks` of many articles, tokenized in one go.

    Args:
        articles: what to cut.
        featurizer: see `split_into_blocks`.
        max_wordpieces: see `split_into_blocks`.

    Yields:
        The blocks of each article, with their wordpieces.
    """
    spans = [split_sentences(article.text) for article in articles]
    texts = []
    for article, places in zip(articles, spans, strict=True):
        texts.append(article.title)
        texts += [article.text[start:end] for start, end in places]
    ids, _, _, row_splits = featurizer.tokenize(texts)
    num_tokens = np.diff(row_splits).tolist()
    row = 0
    for article, places in zip(articles, spans, strict=True):
        title, first = row, row + 1
        row = first + len(places)
        starts = byte_offsets(article.text, [start for start, _ in places])
        groups = group_sentences(
            num_tokens[first:row],
            num_tokens[title] + len(featurizer.block_prompt_ids),
            max_wordpieces,
        )
        sentences = texts[first:row]
        splits = row_splits[first : row + 1]
        yield [
            TokenizedBlock(
                _join(article, sentences[group], starts[group]),
                ids[row_splits[title] : row_splits[first]],
                ids[splits[group.start] : splits[group.stop]],
            )
            for group in groups
        ]


def group_sentences(
    num_tokens: Sequence[int], num_title_tokens: int, max_wordpieces: int
) -> list[slice]:
    """Which consecutive sentences make a block.

    Args:
        num_tokens: wordpieces of each sentence.
        num_title_tokens: wordpieces of the title.
        max_wordpieces: special tokens and title counted.

    Returns:
        list of slices of the sentences, ascending. Blocks without a wordpiece
        are skipped.

    Example:
    >>> group_sentences([4, 5, 30, 2], 1, max_wordpieces=13)
    [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None)]
    """
    groups = []
    start = total = 0
    budget = max_wordpieces - _NUM_SPECIAL_TOKENS - num_title_tokens
    for i, count in enumerate(num_tokens):
        if total + count > budget:
            if total:
                groups.append(slice(start, i))
            start, total = i, 0
        total += count
    if total:
        groups.append(slice(start, len(num_tokens)))
    return groups


def _join(
    article: Article, sentences: Sequence[str], article_starts: Sequence[int]
) -> Block:
    sentence_starts = []
    start = 0
    for sentence in sentences:
        sentence_starts.append(start)
        start += len(sentence.encode()) + 1
    return Block(
        text=" ".join(sentences),
        title=article.title,
        document_id=article.document_id,
        sentence_starts=tuple(sentence_starts),
        article_starts=tuple(article_starts),
    )
