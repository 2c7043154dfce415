"""Wordpieces and their offsets, against Hugging Face's fast tokenizers."""

import argparse
import functools
import itertools
from typing import Any

import inputs
import timing
import tokenizers

from realm_tf.data.text.featurizer import Featurizer

SINGLE = 200  # texts that are tokenized one by one
LEAST_SAME = 0.98  # share of texts; docs name what differs


def measure(args: argparse.Namespace) -> dict[str, Any]:
    bert = args.bert or inputs.minilm_folder()
    ours = Featurizer.from_file(bert / "vocab.txt").tokenize
    tokenizer = tokenizers.Tokenizer.from_file(str(bert / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    one, many = (
        functools.partial(encode, add_special_tokens=False)
        for encode in (tokenizer.encode, tokenizer.encode_batch)
    )
    records = itertools.islice(inputs.read_records(args.corpus), args.num_texts)
    texts = [record["text"] for record in records]
    share = same_share(ours, many, texts)
    if share < LEAST_SAME:
        raise RuntimeError(f"Only {share:.1%} of the texts have equal tokens.")
    first = texts[:SINGLE]
    loads = {
        "one by one": (
            first,
            lambda: [ours([text]) for text in first],
            lambda: [one(text) for text in first],
        ),
        f"{len(texts)} at once": (
            texts,
            lambda: ours(texts),
            lambda: many(texts),
        ),
    }
    rows = []
    for name, (part, our_work, peer_work) in loads.items():
        works = {"ours": our_work, "peer": peer_work}
        for work in works.values():
            work()
        seconds = timing.in_turns(works, args.num_turns)
        rows.append(
            {
                "texts": name,
                "ours, texts/s": len(part) / seconds["ours"],
                "peer, texts/s": len(part) / seconds["peer"],
                "ratio": seconds["peer"] / seconds["ours"],
            }
        )
    title = f"{args.threads} threads, tokenizers {tokenizers.__version__}"
    note = f"{share:.1%} of {len(texts)} texts have the same tokens."
    return {"tables": {title: rows}, "notes": [note]}


def same_share(ours: Any, many: Any, texts: list[str]) -> float:
    tokens = ours(texts)
    rows = [
        tokens.ids[start:end].tolist()
        for start, end in itertools.pairwise(tokens.row_splits)
    ]
    same = [a == b.ids for a, b in zip(rows, many(texts), strict=True)]
    return sum(same) / len(same)
