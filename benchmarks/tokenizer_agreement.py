"""How often the featurizer's wordpieces differ from those of BERT's rules.

    python benchmarks/tokenizer_agreement.py --vocabulary vocab.txt \
        squad/passages.jsonl.gz squad/qa.jsonl.gz

Every "title", "text" and "question" of the JSON lines is compared. The
reference is Hugging Face's `tokenizers` with its BERT normalizer,
pre-tokenizer and WordPiece. Needs `pip install tokenizers`. Prints Markdown.
"""

import argparse
import gzip
import itertools
import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import tokenizers

from realm_tf.data import Featurizer

FIELDS = ("title", "text", "question")
BATCH_SIZE = 2_000  # texts
LONG_WORD = 100  # bytes here, characters in the reference
Tokenize = Callable[[Sequence[str]], list[list[str]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("paths", nargs="+", help="JSON lines")
    parser.add_argument("--vocabulary", required=True, help="vocab.txt")
    parser.add_argument("--show", type=int, default=0, help="texts to print")
    parser.add_argument("--causes", type=int, default=15, help="rows to print")
    args = parser.parse_args()

    ours = our_tokenizer(args.vocabulary)
    theirs = reference_tokenizer(args.vocabulary)
    words: Counter[str] = Counter()
    print("corpus | texts | differ | share | wordpieces | in differing words")
    print("--- | ---: | ---: | ---: | ---: | ---:")
    for path in args.paths:
        texts = list(read_texts(path))
        different = list(differing(texts, ours, theirs))
        found = Counter(differing_words(different, ours, theirs))
        words += found
        total = sum(len(tokens) for tokens in ours(texts))
        changed = sum(
            count * len(tokens)
            for tokens, count in zip(
                ours(list(found)), found.values(), strict=True
            )
        )
        print(
            f"{path} | {len(texts)} | {len(different)} | "
            f"{len(different) / max(1, len(texts)):.3%} | {total} | "
            f"{changed / max(1, total):.4%}"
        )
        for text in different[: args.show]:
            print_words([text], ours, theirs)
    print_causes(words, ours, theirs, args.causes)


def read_texts(path: str) -> Iterator[str]:
    opened = gzip.open if path.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            yield from (record[name] for name in FIELDS if record.get(name))


def our_tokenizer(vocabulary: str) -> Tokenize:
    featurizer = Featurizer.from_file(vocabulary)

    def tokenize(texts: Sequence[str]) -> list[list[str]]:
        rows = []
        for first in range(0, len(texts), BATCH_SIZE):
            tokens = featurizer.tokenize(texts[first : first + BATCH_SIZE])
            words = [featurizer.vocabulary[i] for i in tokens.ids]
            rows += [
                words[start:end]
                for start, end in itertools.pairwise(tokens.row_splits)
            ]
        return rows

    return tokenize


def reference_tokenizer(vocabulary: str) -> Tokenize:
    # Put together by hand, so that "[SEP]" in a text is no special token.
    reference = tokenizers.Tokenizer(
        tokenizers.models.WordPiece.from_file(vocabulary, unk_token="[UNK]")
    )
    reference.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    reference.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return lambda texts: [row.tokens for row in reference.encode_batch(texts)]


def differing(
    texts: Sequence[str], ours: Tokenize, theirs: Tokenize
) -> Iterator[str]:
    rows = zip(texts, ours(texts), theirs(texts), strict=True)
    return (text for text, one, other in rows if one != other)


def differing_words(
    texts: Sequence[str], ours: Tokenize, theirs: Tokenize
) -> Iterator[str]:
    """Differing words, between spaces, as often as they occur."""
    counts = Counter(word for text in texts for word in text.split())
    for word in differing(list(counts), ours, theirs):
        yield from itertools.repeat(word, counts[word])


def print_words(texts: Sequence[str], ours: Tokenize, theirs: Tokenize) -> None:
    for text in texts:
        for word in dict.fromkeys(differing_words([text], ours, theirs)):
            (one,), (other,) = ours([word]), theirs([word])
            print(f"    {word!a}: {' '.join(one)} != {' '.join(other)}")


def print_causes(
    words: Counter[str], ours: Tokenize, theirs: Tokenize, limit: int
) -> None:
    """Which characters, and what else, the differing words have in common."""
    characters = sorted(set("".join(words)))
    # Between letters, as most of them only matter inside a word.
    guilty = {
        text[1]
        for text in differing([f"a{c}b" for c in characters], ours, theirs)
    }
    counts: Counter[str] = Counter()
    examples = {}
    for word, count in words.items():
        for cause in causes(word, guilty):
            counts[cause] += count
            examples.setdefault(cause, word)
    print("\ncause | words | example | here | reference")
    print("--- | ---: | --- | --- | ---")
    for cause, count in counts.most_common(limit):
        (one,), (other,) = ours([examples[cause]]), theirs([examples[cause]])
        print(
            f"{cause} | {count} | {examples[cause]} | {' '.join(one)} | "
            f"{' '.join(other)}"
        )


def causes(word: str, guilty: set[str]) -> list[str]:
    found = [
        f"U+{ord(c):04X} {unicodedata.name(c, unicodedata.category(c))}"
        for c in sorted(set(word) & guilty)
    ]
    if not found and len(word.encode()) > LONG_WORD:
        found = [f"longer than {LONG_WORD} bytes"]
    return found or ["other"]


if __name__ == "__main__":
    main()
