"""One question to its answer, against transformers' RealmForOpenQA."""

import argparse
import functools
import pathlib
import statistics
import tempfile
from collections.abc import Callable
from typing import Any

import inputs
import keras
import numpy as np
import timing
import torch
import transformers

from realm_tf import RealmQA
from realm_tf.checkpoints.exporting import export_hugging_face
from realm_tf.checkpoints.presets import read_preset

NUM_READ = 5
# Random scores of spans are all alike. So much larger, one span wins, and the
# peer, which adds no spans that spell the same, gives the same answer.
SHARPNESS = 100.0
# The "gelu_new" of the published models, in one operation.
ACTIVATION = "gelu_pytorch_tanh"


def measure(args: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(args.threads)
    args.bert = args.bert or inputs.minilm_folder()
    known = inputs.read_questions(args.questions)[: args.num_questions]
    questions = [question.question for question in known]
    with tempfile.TemporaryDirectory() as work:
        qa = make_model(args, pathlib.Path(work))
        peer = make_peer(qa, pathlib.Path(work))
        check_answers(qa, peer, questions)
        seconds = [
            timing.in_turns(works(qa, peer, question), args.num_turns)
            for question in questions
        ]
    ours, theirs = (
        statistics.median(row[name] for row in seconds)
        for name in ("ours", "peer")
    )
    row = {
        "blocks": qa.index.num_blocks,
        "ours, ms": 1e3 * ours,
        "peer, ms": 1e3 * theirs,
        "ratio": theirs / ours,
    }
    title = f"p50 of {len(questions)} questions, RealmForOpenQA, float32"
    note = f"{NUM_READ} blocks read, exact search, the same answers."
    return {"tables": {title: [row]}, "notes": [note]}


def works(qa: Any, peer: Any, question: str) -> dict[str, Callable[[], Any]]:
    return {
        "ours": functools.partial(qa.ask, question),
        "peer": functools.partial(ask_peer, peer, question),
    }


def make_model(args: argparse.Namespace, work: pathlib.Path) -> RealmQA:
    """A model with random heads, over blocks with random embeddings."""
    keras.utils.set_random_seed(0)
    qa = RealmQA.from_bert(
        args.bert,
        pooling="cls",
        dropout=0.0,
        dtype="float32",
        joint_title=False,
    )
    kernel = qa.reader.score_dense.kernel
    kernel.assign(SHARPNESS * kernel)
    inputs.build_index(qa, args.corpus, args.index_blocks, work)
    qa.save_to_preset(work / "preset")
    return qa


def make_peer(qa: RealmQA, work: pathlib.Path) -> Any:
    """The same weights, blocks and embeddings in transformers."""
    folder = work / "hugging_face"
    parts = read_preset(work / "preset", dtype="float32")
    export_hugging_face(parts, folder, "RealmForOpenQA")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = np.arange(qa.index.num_blocks)
    texts = [block.text.encode() for block in qa.index.blocks(ids)]
    peer = transformers.RealmForOpenQA.from_pretrained(
        folder,
        retriever=transformers.RealmRetriever(
            np.array(texts, dtype=object), tokenizer
        ),
        hidden_act=ACTIVATION,
    ).eval()
    peer.block_emb = torch.tensor(qa.index.embeddings(ids))
    return peer


def ask_peer(peer: Any, question: str) -> str:
    tokenizer = peer.retriever.tokenizer
    with torch.inference_mode():
        output = peer(**tokenizer([question], return_tensors="pt"))
    return tokenizer.decode(output.predicted_answer_ids)


def check_answers(qa: RealmQA, peer: Any, questions: list[str]) -> None:
    """Asks all, which also warms both up.

    Raises:
        RuntimeError: if an answer differs.
    """
    tokenizer = peer.retriever.tokenizer
    for question in questions:
        ids = tokenizer(qa.ask(question).text, add_special_tokens=False)
        answers = tokenizer.decode(ids["input_ids"]), ask_peer(peer, question)
        ours, theirs = (spelling(answer) for answer in answers)
        if ours != theirs:
            raise RuntimeError(f"{question!r}: {ours!r}, not {theirs!r}.")


def spelling(text: str) -> str:
    """Without the spaces and marks that decoding puts between tokens."""
    return text.replace(" ", "").replace("##", "")
