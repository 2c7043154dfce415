"""Embedding of blocks, against sentence-transformers."""

import argparse
import functools
import tempfile
from typing import Any

import inputs
import numpy as np
import sentence_transformers
import timing
import torch

# Keras Hub's BERT has this activation, so both compute it.
ACTIVATION = "gelu_pytorch_tanh"
PEER_BATCH_SIZES = (32, 64)
# Largest difference of a number in two embeddings of length 1.
TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(args.threads)
    args.bert = args.bert or inputs.minilm_folder()
    rows, notes = [], []
    for dtype in args.dtypes:
        qa = inputs.sentence_encoder(args.bert, dtype)
        peer = make_peer(args, qa, dtype)
        blocks, num_left_out = choose_blocks(args, qa, peer)
        pairs = [(block.title, block.text) for block in blocks]
        error = compare(
            inputs.embed_blocks(qa, blocks), encode(peer, pairs, 32), dtype
        )
        works = {"ours": functools.partial(inputs.embed_blocks, qa, blocks)}
        for size in PEER_BATCH_SIZES:
            works[f"peer {size}"] = functools.partial(encode, peer, pairs, size)
        for work in works.values():
            work()
        seconds = timing.in_turns(works, args.num_turns)
        ours = seconds.pop("ours")
        fastest = min(seconds, key=seconds.__getitem__)
        rows.append(
            {
                "dtype": dtype,
                "ours, blocks/s": len(blocks) / ours,
                "peer, blocks/s": len(blocks) / seconds[fastest],
                "ratio": seconds[fastest] / ours,
                "peer's batch": fastest.split()[1],
                "largest difference": f"{error:.1e}",
            }
        )
        note = (
            f"{len(blocks)} blocks of {mean_length(qa, blocks):.0f} tokens on "
            f"average; {num_left_out} more have other tokens in the peer."
        )
        notes = [note, f"The peer's activation is {ACTIVATION}, as ours."]
    return {"tables": {"blocks/s, sentence-transformers": rows}, "notes": notes}


def make_peer(args: argparse.Namespace, qa: Any, dtype: str) -> Any:
    peer = sentence_transformers.SentenceTransformer(
        str(args.bert),
        device="cpu",
        config_kwargs={"hidden_act": ACTIVATION},
    )
    peer.max_seq_length = qa.featurizer.block_length
    return peer.to(getattr(torch, dtype)).eval()


def encode(peer: Any, pairs: list[Any], batch_size: int) -> np.ndarray:
    with torch.inference_mode():
        embeddings = peer.encode(
            pairs,
            batch_size=batch_size,
            convert_to_tensor=True,
            show_progress_bar=False,
        )
    return embeddings.float().numpy()


def choose_blocks(
    args: argparse.Namespace, qa: Any, peer: Any
) -> tuple[list[Any], int]:
    """Random blocks with the same tokens on both sides; how many had others."""
    with tempfile.TemporaryDirectory() as work:
        corpus = inputs.build_corpus(
            args.corpus, f"{work}/corpus", qa.featurizer
        )
        count = min(args.num_blocks, corpus.num_blocks)
        order = np.random.default_rng(0).permutation(corpus.num_blocks)
        blocks = corpus.blocks(order[:count])
    titles, texts = zip(*((b.title, b.text) for b in blocks), strict=True)
    ours = qa.featurizer.blocks(titles, texts)["token_ids"].numpy()
    theirs = peer.tokenizer(
        list(titles),
        list(texts),
        padding="max_length",
        truncation="longest_first",
        max_length=ours.shape[1],
    )["input_ids"]
    same = (ours == np.array(theirs)).all(axis=1)
    chosen = [block for block, here in zip(blocks, same, strict=True) if here]
    return chosen, int((~same).sum())


def mean_length(qa: Any, blocks: list[Any]) -> float:
    features = qa.featurizer.blocks(
        [block.title for block in blocks], [block.text for block in blocks]
    )
    return float(features["padding_mask"].numpy().sum(axis=1).mean())


def compare(ours: np.ndarray, theirs: np.ndarray, dtype: str) -> float:
    """Largest difference.

    Raises:
        RuntimeError: if it is above the tolerance.
    """
    error = float(np.abs(ours - theirs).max())
    if not error <= TOLERANCE[dtype]:
        raise RuntimeError(f"The embeddings differ by {error:.1e} in {dtype}.")
    return error
