"""BM25 on a corpus of passages: the figure to put beside a dense retriever.

    python benchmarks/bm25.py --passages squad/passages.jsonl.gz \
        --questions squad/qa.jsonl.gz --split test

Passages are JSON lines {"id", "title", "text"}, questions those of
`realm_tf.data.read_questions`. Needs `pip install bm25s PyStemmer`.
"""

import argparse
import json
from collections.abc import Sequence

import bm25s
import Stemmer

from realm_tf.data import Article, Question, read_articles, read_questions
from realm_tf.evaluation import answer_recall_at_k, block_recall_at_k

DEPTH = 100  # passages; MRR@100 and the deepest recall need as many
KS = (1, 5, 20, 100)
TOKENS = {"stopwords": "en", "show_progress": False}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--passages", nargs="+", required=True)
    parser.add_argument("--questions", nargs="+", required=True)
    parser.add_argument("--split", help="questions of this split only")
    parser.add_argument("--k1", type=float, default=0.9)
    parser.add_argument("--b", type=float, default=0.4)
    args = parser.parse_args()

    passages = list(read_articles(args.passages))
    retriever = index(passages, k1=args.k1, b=args.b)
    print(f"{len(passages)} passages")
    pooled: list[Question] = []
    for path in args.questions:
        questions = read_questions(path, split=args.split)
        pooled += questions
        print(path, json.dumps(measure(retriever, passages, questions)))
    if len(args.questions) > 1:
        print("pooled", json.dumps(measure(retriever, passages, pooled)))


def index(passages: Sequence[Article], *, k1: float, b: float) -> bm25s.BM25:
    texts = [f"{passage.title} {passage.text}" for passage in passages]
    retriever = bm25s.BM25(k1=k1, b=b)
    retriever.index(
        bm25s.tokenize(texts, stemmer=Stemmer.Stemmer("english"), **TOKENS),
        show_progress=False,
    )
    return retriever


def measure(
    retriever: bm25s.BM25,
    passages: Sequence[Article],
    questions: Sequence[Question],
) -> dict[str, float]:
    ranked = search(retriever, passages, questions)
    scores: dict[str, float] = {"num_questions": len(questions)}
    answers = answer_recall_at_k(
        [[passage.text for passage in row] for row in ranked],
        [question.answers for question in questions],
        KS,
    )
    scores |= {f"answer_recall_at_{k}": share for k, share in answers.items()}
    if all(question.passage_id is not None for question in questions):
        ids = [[passage.document_id for passage in row] for row in ranked]
        gold = [str(question.passage_id) for question in questions]
        blocks = block_recall_at_k(ids, gold, KS)
        scores |= {f"block_recall_at_{k}": share for k, share in blocks.items()}
        scores["mean_reciprocal_rank"] = mean_reciprocal_rank(ids, gold)
    return {name: round(score, 4) for name, score in scores.items()}


def mean_reciprocal_rank(
    ids: Sequence[Sequence[str]], gold: Sequence[str]
) -> float:
    rows = zip(ids, gold, strict=True)
    return sum(
        1 / (row.index(right) + 1) for row, right in rows if right in row
    ) / len(gold)


def search(
    retriever: bm25s.BM25,
    passages: Sequence[Article],
    questions: Sequence[Question],
) -> list[list[Article]]:
    tokens = bm25s.tokenize(
        [question.question for question in questions],
        stemmer=Stemmer.Stemmer("english"),
        **TOKENS,
    )
    ids, _ = retriever.retrieve(
        tokens, k=min(DEPTH, len(passages)), show_progress=False
    )
    return [[passages[i] for i in row] for row in ids]


if __name__ == "__main__":
    main()
