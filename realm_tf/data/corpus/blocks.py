"""Articles to blocks, the unit of retrieval."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from realm_tf import _constants
from realm_tf.data.text.sentences import byte_offsets, split_sentences

if TYPE_CHECKING:  # spares readers of blocks the import of TensorFlow
    from realm_tf.data.text.featurizer import Featurizer

_NUM_SPECIAL_TOKENS = 3  # [CLS] title [SEP] block [SEP]
_TOKENIZED_AT_ONCE = 65_536  # sentences, about 0.1 s


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
        num_cut: sentences that go on in the next block.
    """

    block: Block
    title_ids: np.ndarray
    token_ids: np.ndarray
    num_cut: int = 0


def split_into_blocks(
    article: Article,
    featurizer: "Featurizer",
    *,
    max_wordpieces: int = _constants.BLOCK_LENGTH,
    before_part: Callable[[], None] | None = None,
) -> list[Block]:
    """Cuts an article into blocks of whole sentences.

    A block takes sentences while `[CLS] title [SEP] block [SEP]` fits into
    `max_wordpieces`. A longer sentence, such as a table or a log, is cut at
    white space, or between words, so that all of it is read. Blocks do not
    overlap; those without a wordpiece are dropped.

    Args:
        article: what to cut.
        featurizer: its tokenizer decides the lengths.
        max_wordpieces: special tokens and title counted. The default is that
            of the released corpus.
        before_part: called before each part of the work, of less than a
            second; may raise.

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
    [blocks] = tokenize_articles(
        [article], featurizer, max_wordpieces, before_part
    )
    return [tokenized.block for tokenized in blocks]


def tokenize_articles(
    articles: Sequence[Article],
    featurizer: "Featurizer",
    max_wordpieces: int,
    before_part: Callable[[], None] | None = None,
) -> Iterator[list[TokenizedBlock]]:
    """`split_into_blocks` of many articles, tokenized in one go.

    Args:
        articles: what to cut.
        featurizer: see `split_into_blocks`.
        max_wordpieces: see `split_into_blocks`.
        before_part: see `split_into_blocks`.

    Yields:
        The blocks of each article, with their wordpieces.
    """
    spans = [split_sentences(article.text, before_part) for article in articles]
    texts = []
    for article, places in zip(articles, spans, strict=True):
        texts.append(article.title)
        texts += [article.text[start:end] for start, end in places]
    tokens = _tokenize(texts, featurizer, before_part)
    row = 0
    for article, places in zip(articles, spans, strict=True):
        title_ids, _, _ = tokens[row]
        num_title_tokens = len(title_ids) + len(featurizer.block_prompt_ids)
        budget = max_wordpieces - _NUM_SPECIAL_TOKENS - num_title_tokens
        pieces: list[_Piece] = []
        for i, (start, _) in enumerate(places, row + 1):
            pieces += _cut(
                texts[i], start, tokens[i], budget, featurizer.continues
            )
        row += 1 + len(places)
        starts = byte_offsets(article.text, [piece.start for piece in pieces])
        groups = group_sentences(
            [len(piece.token_ids) for piece in pieces],
            num_title_tokens,
            max_wordpieces,
        )
        yield [
            TokenizedBlock(
                _join(
                    article,
                    [piece.text for piece in pieces[group]],
                    starts[group],
                ),
                title_ids,
                np.concatenate([piece.token_ids for piece in pieces[group]]),
                sum(piece.is_cut for piece in pieces[group]),
            )
            for group in groups
        ]


class _Piece(NamedTuple):
    """A sentence, or a part of one that no block could hold.

    Args:
        text: without white space around it.
        start: character in the article.
        token_ids: its wordpieces.
        is_cut: whether the sentence goes on.
    """

    text: str
    start: int
    token_ids: np.ndarray
    is_cut: bool


def _cut(
    sentence: str,
    start: int,
    tokens: tuple[np.ndarray, np.ndarray, np.ndarray],
    budget: int,
    continues: np.ndarray,
) -> Iterator[_Piece]:
    """Parts of a sentence of at most `budget` wordpieces, if words allow it.

    A word of more wordpieces stays whole.

    Args:
        sentence: its text.
        start: its first character in the article.
        tokens: its wordpieces and their bytes, see `Tokens`.
        budget: most wordpieces. Where a title leaves no room for one, there
            is nothing to be gained by a cut.
        continues: of each wordpiece of the vocabulary, whether it continues
            a word.
    """
    ids, starts, _ = tokens
    if len(ids) <= budget or budget < 1:
        yield _Piece(sentence, start, ids, False)
        return
    data = sentence.encode("utf-8", "replace")
    begins_word = ~continues[ids]
    after_space = np.array(
        [place > 0 and data[place - 1 : place].isspace() for place in starts]
    )
    first = first_byte = first_character = 0
    while first < len(ids):
        last = first + budget
        if last < len(ids):
            window = slice(first + 1, last + 1)
            for is_place in (after_space, begins_word):
                found = np.flatnonzero(is_place[window])
                if len(found):
                    last = first + 1 + int(found[-1])
                    break
            else:  # half a word would be other wordpieces
                found = np.flatnonzero(begins_word[last:])
                last = last + int(found[0]) if len(found) else len(ids)
        is_cut = last < len(ids)
        last_byte = int(starts[last]) if is_cut else len(data)
        text = data[first_byte:last_byte].decode()
        spaces = len(text) - len(text.lstrip())
        place = start + first_character + spaces
        yield _Piece(text.strip(), place, ids[first:last], is_cut)
        first, first_byte = last, last_byte
        first_character += len(text)


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


def _tokenize(
    texts: Sequence[str],
    featurizer: "Featurizer",
    before_part: Callable[[], None] | None,
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Wordpieces of each text and their bytes, see `Tokens.row`."""
    rows = []
    for start in range(0, len(texts), _TOKENIZED_AT_ONCE):
        if before_part is not None:
            before_part()
        part = featurizer.tokenize(texts[start : start + _TOKENIZED_AT_ONCE])
        rows += [part.row(i) for i in range(len(part.row_splits) - 1)]
    return rows


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
