"""A training step of the encoder, against RealmKnowledgeAugEncoder."""

import argparse
from typing import Any

import keras
import pretrain_step
import timing
import torch

SIZE = "minilm"


def measure(args: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(args.threads)
    # With mixed_bfloat16 the peer would still compute in float32.
    keras.config.set_dtype_policy("float32")
    options = pretrain_step.parse_arguments(
        ["--stage=encoder", "--peer", f"--size={SIZE}"]
        + [f"--batch-size={args.batch_size}"]
        + [f"--num-candidates={args.num_candidates}"]
    )
    model, features = pretrain_step.make_encoder(options)
    works = {
        "ours": pretrain_step.make_step(model, features, jit=False),
        # Compares the losses of both.
        "peer": pretrain_step.make_peer_step(model, features, "float32"),
    }
    for work in works.values():
        work()
    seconds = timing.in_turns(works, args.num_turns)
    row = {
        "sentences": args.batch_size,
        "blocks of each": args.num_candidates,
        "ours, s": seconds["ours"],
        "peer, s": seconds["peer"],
        "ratio": seconds["peer"] / seconds["ours"],
    }
    length = options.query_length + options.block_length
    title = "a step, RealmKnowledgeAugEncoder, float32"
    note = f"{SIZE}, {length} wordpieces a row without padding, equal losses."
    return {"tables": {title: [row]}, "notes": [note]}
