"""Masked words alone teach a retriever: a world in which it can be seen.

    python benchmarks/controlled_world.py --output world

A generated corpus tells facts: the year in which a person did something. Names
are of two parts, each of which twenty people share. Each fact is told in three
blocks, in words of their own; other blocks tell where people live. A model of
two small layers with random weights learns to predict masked years through
the blocks that it retrieves, and nothing else. It is asked for facts of which
one telling was held out: the telling without its year is the question, and a
block with the fact must be found.

Prints Markdown: recall before and after for each variant, as table 2 of Guu et
al. (2020) compares them. Logs go to the output folder, from which a stopped
run is resumed.
"""

import argparse
import json
import pathlib
import time
from typing import Any

import keras
import keras_hub
import machine
import numpy as np

from realm_tf import Embedder, RealmQA, SpanReader
from realm_tf.data import (
    Article,
    Corpus,
    DateNumberTagger,
    Featurizer,
    Question,
    build_corpus,
    make_masks,
    tag_corpus,
)
from realm_tf.options import (
    InverseClozeOptions,
    MaskedSentenceOptions,
    TrainingOptions,
)
from realm_tf.training import (
    pretrain_inverse_cloze,
    pretrain_masked_words,
    read_log,
)

PARTS = 20  # first parts of names, and as many last ones
SYLLABLES = ("ba", "de", "fi", "go", "ku", "la", "me", "no", "pi", "ru")
# Ways to tell a fact, by relation; nothing but the name and the year recurs.
TELLINGS = (
    (
        "{name} was born in {year}.",
        "The birth of {name} fell into {year}.",
        "It was {year} when {name} came to life.",
    ),
    (
        "{name} married in {year}.",
        "The wedding of {name} took place during {year}.",
        "In {year} a spouse was found by {name}.",
    ),
    (
        "{name} died in {year}.",
        "The death of {name} is dated {year}.",
        "By {year} the grave of {name} had been dug.",
    ),
)
PLACES = "{name} lives near {other}."
QUERY_LENGTH = 20
BLOCK_LENGTH = 20
JOINT_LENGTH = 55
VARIANTS: dict[str, dict[str, Any]] = {
    "salient": {},
    "random-spans": {"masks": "random-spans"},
    "random-tokens": {"masks": "random-tokens"},
    "stale": {"refresh_factor": 30},
    "own block": {"own_block": "keep"},
    "ICT first": {"ict": True},
}


class World:
    """Facts and their blocks.

    Args:
        num_people: people, each with one fact of each relation.
        num_years: different years.
        held_out: share of the facts of which a telling is held out.
        seed: of everything.
    """

    def __init__(
        self, num_people: int, num_years: int, held_out: float, seed: int
    ):
        rng = np.random.default_rng(seed)
        syllables = [a + b for a in SYLLABLES for b in SYLLABLES]
        rng.shuffle(syllables)
        first, last = syllables[:PARTS], syllables[PARTS : 2 * PARTS]
        pairs = rng.choice(PARTS * PARTS, num_people, replace=False)
        names = [f"{first[p // PARTS]} {last[p % PARTS]}" for p in pairs]
        years = 1000 + rng.choice(900, num_years, replace=False)
        self.articles: list[Article] = []
        self.questions: list[Question] = []
        for person, name in enumerate(names):
            for relation, tellings in enumerate(TELLINGS):
                fact = f"{person}-{relation}"
                year = int(rng.choice(years))
                texts = [t.format(name=name, year=year) for t in tellings]
                if rng.random() < held_out:
                    place = int(rng.integers(len(texts)))
                    asked = texts.pop(place).replace(str(year), "")
                    self.questions.append(
                        Question(fact, asked, (str(year),), passage_id=fact)
                    )
                self.articles += [
                    Article(f"{fact}-{number}", "", text)
                    for number, text in enumerate(texts)
                ]
            other = names[int(rng.integers(num_people))]
            text = PLACES.format(name=name, other=other)
            self.articles.append(Article(f"{person}-place", "", text))
        words = {w for article in self.articles for w in _words(article.text)}
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        self.vocabulary = [*special, *sorted(words)]


def _words(text: str) -> list[str]:
    return text.lower().replace(".", " . ").split()


def make_model(world: World, args: argparse.Namespace) -> RealmQA:
    featurizer = Featurizer(
        world.vocabulary,
        query_length=QUERY_LENGTH,
        block_length=BLOCK_LENGTH,
        joint_length=JOINT_LENGTH,
    )

    def backbone() -> keras.Model:
        return keras_hub.models.BertBackbone(
            vocabulary_size=featurizer.vocabulary_size,
            num_layers=2,
            num_heads=4,
            hidden_dim=args.width,
            intermediate_dim=4 * args.width,
            max_sequence_length=JOINT_LENGTH,
            dropout=0.0,
        )

    embedder = Embedder(
        backbone(),
        embedding_dim=args.width,
        pooling="mean",
        dropout=0.0,
        layer_norm_epsilon=None,
        embedding_norm=args.logit_scale**0.5,
    )
    reader = SpanReader(backbone(), span_hidden_dim=8)
    return RealmQA(featurizer, embedder, embedder, reader)


def recall_at_1(qa: RealmQA, corpus: Corpus, world: World) -> float:
    """Share of the held out tellings for which a block with the fact leads."""
    index = qa.build_index(corpus, analyzer=None)
    found = qa.search([q.question for q in world.questions], 1)
    blocks = index.blocks(found.block_ids[:, 0])
    return float(
        np.mean(
            [
                block.document_id.startswith(f"{question.passage_id}-")
                for block, question in zip(blocks, world.questions, strict=True)
            ]
        )
    )


def run(
    args: argparse.Namespace, variant: str, seed: int, folder: pathlib.Path
) -> dict[str, float]:
    """Trains one variant; returns its figures."""
    options = VARIANTS[variant]
    world = World(args.num_people, args.num_years, args.held_out, seed)
    keras.utils.set_random_seed(seed)
    qa = make_model(world, args)
    path = folder / "corpus"
    if path.exists():
        corpus = Corpus.open(path)
    else:
        corpus = build_corpus(world.articles, path, qa.featurizer)
        tag_corpus(corpus, DateNumberTagger())
    before = recall_at_1(qa, corpus, world)
    start = time.perf_counter()
    if options.get("ict"):
        pretrain_inverse_cloze(
            qa,
            corpus,
            folder / "ict",
            TrainingOptions(num_steps=args.ict_steps, learning_rate=args.rate),
            InverseClozeOptions(batch_size=args.batch_size, seed=seed),
        )
    pretrain_masked_words(
        qa,
        corpus,
        make_masks(options.get("masks", "salient"), corpus),
        folder / "masked",
        TrainingOptions(
            num_steps=args.num_steps,
            learning_rate=args.rate,
            num_warmup_steps=100,
            bias_correction=True,
        ),
        MaskedSentenceOptions(
            batch_size=args.batch_size,
            num_candidates=args.num_candidates,
            query_length=QUERY_LENGTH,
            own_block=options.get("own_block", "exclude"),
            seed=seed,
        ),
        every_n_steps=args.refresh_every * options.get("refresh_factor", 1),
        probe=world.questions if args.probe else (),
    )
    minutes = (time.perf_counter() - start) / 60
    log = read_log(folder / "masked")[-1]
    return {
        "before": before,
        "after": recall_at_1(qa, corpus, world),
        "chance": 2 / corpus.num_blocks,
        "minutes": minutes,
        **{k: v for k, v in log.items() if isinstance(v, float)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", required=True, type=pathlib.Path)
    parser.add_argument("--variants", nargs="+", default=["salient"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--num_people", type=int, default=100)
    parser.add_argument("--num_years", type=int, default=50)
    parser.add_argument("--held_out", type=float, default=0.3)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--logit_scale", type=float, default=20.0)
    parser.add_argument("--num_steps", type=int, default=1500)
    parser.add_argument("--ict_steps", type=int, default=200)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--num_candidates", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--refresh_every", type=int, default=50)
    parser.add_argument("--probe", action="store_true")
    args = parser.parse_args()
    print(f"{machine.describe()}\n")
    print("| variant | seed | recall@1 before | after | chance | minutes |")
    print("|---|---:|---:|---:|---:|---:|")
    for variant in args.variants:
        for seed in args.seeds:
            folder = args.output / f"{variant.replace(' ', '-')}-{seed}"
            figures_file = folder / "figures.json"
            if not figures_file.exists():
                folder.mkdir(parents=True, exist_ok=True)
                figures = run(args, variant, seed, folder)
                figures_file.write_text(json.dumps(figures, indent=1) + "\n")
            figures = json.loads(figures_file.read_text())
            cells = (
                f"{figures[name]:.3f}"
                for name in ("before", "after", "chance", "minutes")
            )
            print(f"| {variant} | {seed} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
