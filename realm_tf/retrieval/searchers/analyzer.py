"""Analyzer: the words of a text, as a lexical search compares them."""

import unicodedata
from types import ModuleType

from realm_tf._constants import ANALYZERS

DEFAULT_ANALYZER = "english"

_LONGEST = 100  # bytes of a word; longer ones are no words of a language
_SOFT_HYPHEN = "\u00ad"
# Scripts that are written without spaces: each sign is a word, as in BERT's
# tokenizer for Chinese.
_UNSPACED = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
)
_WORDS = rf"[{_UNSPACED}]|[\p{{L}}\p{{M}}\p{{N}}--[{_UNSPACED}]]+"


class Analyzer:
    """Splits texts into words: letters, marks and digits, in lower case.

    Accents of Latin letters are dropped and no word is skipped, whatever its
    language. Text is only ever text: no sign of it is a query language.

    Args:
        name: "plain", or the language whose endings are cut off as well, such
            as "english" (Porter2); see `ANALYZERS`.

    Raises:
        ImportError: if Tantivy is not installed.
        ValueError: if there is no such analyzer.

    Example:
    >>> Analyzer("english").words("The Café's opening, 1939–45")
    ['the', 'cafe', 's', 'open', '1939', '45']
    """

    def __init__(self, name: str):
        if name not in ANALYZERS:
            raise ValueError(
                f"`analyzer` must be one of {ANALYZERS}. Received: "
                f"analyzer={name!r}."
            )
        tantivy = import_tantivy()
        filters = tantivy.Filter
        builder = (
            tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.regex(_WORDS))
            .filter(filters.remove_long(_LONGEST))
            .filter(filters.lowercase())
            .filter(filters.ascii_fold())
        )
        if name != "plain":
            builder = builder.filter(filters.stemmer(name))
        self.of_tantivy = builder.build()

    def words(self, text: str) -> list[str]:
        """The words of a text in their order."""
        words: list[str] = self.of_tantivy.analyze(composed(text))
        return words


def composed(text: str) -> str:
    """The text as UTF-8 can hold it, each accented letter as one sign."""
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return unicodedata.normalize("NFKC", clean.replace(_SOFT_HYPHEN, ""))


def import_tantivy() -> ModuleType:
    """Returns Tantivy's Python module.

    Raises:
        ImportError: if it is not installed, or cannot run here.
    """
    try:
        import tantivy
    except ImportError as error:
        raise ImportError(
            "A lexical search needs Tantivy. Install it with `pip install "
            "'tantivy>=0.25,<0.28'`, or search by embeddings alone with "
            f"`lexical_weight=0`. Received: {error}"
        ) from error
    module: ModuleType = tantivy
    return module
