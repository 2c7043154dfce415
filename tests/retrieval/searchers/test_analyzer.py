import builtins

import pytest

from realm_tf._constants import ANALYZERS
from realm_tf.retrieval.searchers.analyzer import Analyzer, import_tantivy


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The CAFÉ's", ["the", "cafe", "s"]),
        ("cafe\u0301", ["cafe"]),
        ("New York-based, 1939–45.", ["new", "york", "based", "1939", "45"]),
        ("com\u00admunity a\u200bb", ["community", "a", "b"]),
        ("日本語 text", ["日", "本", "語", "text"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ('AND ( title:x* "~2 \\', ["and", "title", "x", "2"]),
        ("\ud800 lone", ["lone"]),
        ("x" * 101 + " y", ["y"]),
        ("?! ...", []),
    ],
)
def test_words_are_letters_marks_and_digits(text, words):
    assert Analyzer("plain").words(text) == words


def test_a_language_cuts_endings_off():
    text = "cities running"
    assert Analyzer("plain").words(text) == ["cities", "running"]
    assert Analyzer("english").words(text) == ["citi", "run"]
    assert Analyzer("german").words("Häuser") == ["haus"]


@pytest.mark.parametrize("name", ANALYZERS)
def test_every_named_analyzer_exists(name):
    assert Analyzer(name).words("42") == ["42"]


def test_an_unknown_analyzer_is_refused():
    with pytest.raises(ValueError, match="`analyzer` must be one of"):
        Analyzer("klingon")


def test_missing_tantivy_is_told(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **keywords):
        if name == "tantivy":
            raise ImportError("No module named 'tantivy'")
        return real(name, *args, **keywords)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match="pip install 'tantivy"):
        import_tantivy()
