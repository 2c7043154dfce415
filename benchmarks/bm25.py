"""BM25 on a corpus of passages: the figure to put beside a dense retriever.

    python benchmarks/bm25.py --passages squad/passages.jsonl.gz \
        --questions squad/qa.jsonl.gz --split test

Passages are JSON lines {"id", "title", "text"}, questions those of
`realm_tf.data.questions.questions`. Needs `pip install bm25s PyStemmer`.
"""

import argparse
import json
from collections.abc import Sequence

import bm25s
import Stemmer

from realm_tf.data.corpus import jsonl
from realm_tf.data.questions.questions import Question, read_questions
from realm_tf.evaluation import recall

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

    passages = [p for path in args.passages for _, p in jsonl.read_jsonl(path)]
    retriever = index(passages, k1=args.k1, b=args.b)
    print(f"{len(passages)} passages")
    pooled: list[Question] = []
    for path in args.questions:
        questions = read_questions(path, split=args.split)
        pooled += questions
        print(path, json.dumps(measure(retriever, passages, questions)))
    if len(args.questions) > 1:
        print("pooled", json.dumps(measure(retriever, passages, pooled)))


def index(passages: Sequence[dict], *, k1: float, b: float) -> bm25s.BM25:
    texts = [f"{passage['title']} {passage['text']}" for passage in passages]
    retriever = bm25s.BM25(k1=k1, b=b)
    retriever.index(
        bm25s.tokenize(texts, stemmer=Stemmer.Stemmer("english"), **TOKENS),
        show_progress=False,
    )
    return retriever


def measure(
    retriever: bm25s.BM25,
    passages: Sequence[dict],
    questions: Sequence[Question],
) -> dict[str, float]:
    ranked = search(retriever, passages, questions)
    scores: dict[str, float] = {"num_questions": len(questions)}
    answers = recall.answer_recall_at_k(
        [[passage["text"] for passage in row] for row in ranked],
        [question.answers for question in questions],
        KS,
    )
    scores |= {f"answer_recall_at_{k}": share for k, share in answers.items()}
    if all(question.passage_id is not None for question in questions):
        ranks = [
            recall.first_rank(p["id"] == question.passage_id for p in row)
            for row, question in zip(ranked, questions, strict=True)
        ]
        blocks = recall.recall_at_k(ranks, KS)
        scores |= {f"block_recall_at_{k}": share for k, share in blocks.items()}
        scores["mean_reciprocal_rank"] = recall.mean_reciprocal_rank(ranks)
    return {name: round(score, 4) for name, score in scores.items()}


def search(
    retriever: bm25s.BM25,
    passages: Sequence[dict],
    questions: Sequence[Question],
) -> list[list[dict]]:
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
