"""Speed of a pre-training step, against the matrix products it is made of.

    python benchmarks/pretrain_step.py --size minilm --dtype float32
    python benchmarks/pretrain_step.py --size base --stage ict --batch-size 32
    python benchmarks/pretrain_step.py --stage encoder --peer
    python benchmarks/pretrain_step.py --gradient-checkpointing

No row has padding. The floor is the time that the matrix products of the step
alone would take at the rate of one large product, measured in the same run.
`--stage encoder` trains the encoder alone, with scores of the blocks that are
given; `--peer` does the same with transformers' RealmKnowledgeAugEncoder, of
the same weights and features (extra `bench`), in turn with ours. Prints
Markdown.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import keras
import keras_hub
import machine
import numpy as np
import tensorflow as tf
from timing import fastest, matmul_rate, products

from realm_tf.checkpoints.variable_names import (
    ENCODER,
    HUGGING_FACE,
    PartNames,
    keras_path,
)
from realm_tf.layers.backbone_layer import tower_features
from realm_tf.layers.embedder import Embedder
from realm_tf.layers.knowledge_augmented_encoder import (
    KnowledgeAugmentedEncoder,
)
from realm_tf.losses.marginal_likelihood import (
    marginal_mlm_loss,
    token_log_probs,
)
from realm_tf.models.inverse_cloze_pretrainer import InverseClozePretrainer
from realm_tf.models.realm_pretrainer import RealmPretrainer
from realm_tf.optimizers.bert_adamw import BertAdamW

VOCABULARY_SIZE = 30_522
SIZES = {"minilm": (6, 384, 12), "base": (12, 768, 12), "tiny": (2, 128, 2)}
EMBEDDING_DIM = 128
NUM_TARGETS = 10
LEARNING_RATE = 1e-5
# Not among our weights: transformers names what is shared twice, and counts
# positions in a buffer.
TIED = ("decoder.weight", "decoder.bias", "position_ids")
LOSS_TOLERANCE = {"float32": 1e-5, "mixed_bfloat16": 1e-2}


def main() -> None:
    args = parse_arguments()
    keras.config.set_dtype_policy(args.dtype)
    layers, width, _ = SIZES[args.size]
    joint_length = args.query_length + args.block_length
    targets = args.batch_size * args.num_candidates * NUM_TARGETS
    head = targets * width * (VOCABULARY_SIZE + width)
    if args.stage == "ict":
        model, features = make_ict(args)
        towers = [(args.batch_size, args.query_length)]
        towers += [(args.batch_size, args.block_length)]
        head = args.batch_size**2 * EMBEDDING_DIM
    elif args.stage == "encoder":
        model, features = make_encoder(args)
        towers = [(args.batch_size * args.num_candidates, joint_length)]
    else:
        model, features = make_mlm(args)
        rows = args.batch_size * (args.num_candidates - 1)
        # The null block is embedded once and read with the query alone.
        towers = [
            (args.batch_size, args.query_length),
            (args.batch_size, args.query_length + 1),
            (rows, args.block_length),
            (rows, joint_length),
        ]
    forward = head + sum(
        products(layers, width, rows, length) for rows, length in towers
    )
    # Backward computes the gradients by both factors of every product.
    flops = 2 * 3 * forward
    rate = matmul_rate(args.dtype)
    steps = [make_step(model, features, args.jit_compile)]
    if args.peer:
        steps.append(make_peer_step(model, features, args.dtype))
    seconds, *peer = fastest(steps, args.num_steps)
    print(machine.describe())
    print(
        f"{args.stage}, {args.size}, {args.dtype}, batch {args.batch_size}, "
        f"jit_compile={args.jit_compile}\n"
    )
    print("what | figure\n--- | ---:")
    print(f"matrix products of a step, GFLOP | {flops / 1e9:,.1f}")
    print(f"rate of one large product, GFLOP/s | {rate / 1e9:,.1f}")
    print(f"step, s | {seconds:.3f}")
    print(f"examples/s | {args.batch_size / seconds:.2f}")
    print(f"share of the rate | {flops / seconds / rate:.0%}")
    if peer:
        print(f"step of transformers, s | {peer[0]:.3f}")
        print(f"times faster than transformers | {peer[0] / seconds:.2f}")
    print(f"peak memory, MB | {machine.peak_memory_mb():,.0f}")


def parse_arguments(
    arguments: Sequence[str] | None = None,
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--stage", choices=["ict", "mlm", "encoder"], default="mlm"
    )
    parser.add_argument("--peer", action="store_true", help="of encoder")
    parser.add_argument("--size", choices=list(SIZES), default="minilm")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--num-candidates", type=int, default=8)
    parser.add_argument("--query-length", type=int, default=64)
    parser.add_argument("--block-length", type=int, default=192)
    parser.add_argument("--chunk-size", type=int, help="of ict")
    parser.add_argument(
        "--gradient-checkpointing", action="store_true", help="of mlm"
    )
    parser.add_argument("--jit-compile", action="store_true")
    parser.add_argument("--num-steps", type=int, default=5)
    args = parser.parse_args(arguments)
    if args.peer and args.stage != "encoder":
        parser.error("`--peer` compares the encoder. Add --stage encoder.")
    if args.peer and args.dtype not in LOSS_TOLERANCE:
        parser.error(f"`--peer` is for {', '.join(LOSS_TOLERANCE)}.")
    return args


def make_trunk(size: str) -> keras.Model:
    layers, width, heads = SIZES[size]
    return keras_hub.models.BertBackbone(
        vocabulary_size=VOCABULARY_SIZE,
        num_layers=layers,
        num_heads=heads,
        hidden_dim=width,
        intermediate_dim=4 * width,
        max_sequence_length=512,
        dropout=0.0,
    )


def make_ict(args: argparse.Namespace) -> tuple[keras.Model, dict[str, Any]]:
    embedder = Embedder(
        make_trunk(args.size), embedding_dim=EMBEDDING_DIM, dropout=0.0
    )
    batch = args.batch_size
    features = {
        **rows("query", batch, args.query_length),
        **rows("block", batch, args.block_length),
        "block_keys": np.arange(batch, dtype=np.int32),
        "is_removed": np.ones(batch, np.int32),
    }
    return InverseClozePretrainer(
        embedder, chunk_size=args.chunk_size
    ), features


def make_mlm(args: argparse.Namespace) -> tuple[keras.Model, dict[str, Any]]:
    embedder = Embedder(
        make_trunk(args.size), embedding_dim=EMBEDDING_DIM, dropout=0.0
    )
    encoder = KnowledgeAugmentedEncoder(make_trunk(args.size))
    batch, candidates = args.batch_size, args.num_candidates
    features = {
        **rows("query", batch, args.query_length),
        **rows("candidate", batch, candidates, args.block_length),
        **joint_features(args),
        "candidate_mask": np.ones((batch, candidates), np.int32),
        "index_age": np.zeros(batch, np.float32),
    }
    model = RealmPretrainer(
        embedder, encoder, gradient_checkpointing=args.gradient_checkpointing
    )
    return model, features


def make_encoder(
    args: argparse.Namespace,
) -> tuple[keras.Model, dict[str, Any]]:
    shape = (args.batch_size, args.num_candidates)
    scores = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    features = {**joint_features(args), "scores": scores}
    encoder = KnowledgeAugmentedEncoder(make_trunk(args.size))
    return EncoderTrainer(encoder), features


def joint_features(args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Sentences with their blocks, and what is masked in them."""
    length = args.query_length + args.block_length
    targets = (args.batch_size, NUM_TARGETS)
    rng = np.random.default_rng(0)
    positions = rng.permuted(
        np.tile(np.arange(1, args.query_length), (args.batch_size, 1)), axis=1
    )
    return {
        **rows("joint", args.batch_size, args.num_candidates, length),
        "mask_positions": positions[:, :NUM_TARGETS].astype(np.int32),
        "mask_ids": rng.integers(0, VOCABULARY_SIZE, targets, dtype=np.int32),
        "mask_weights": np.ones(targets, np.float32),
    }


class EncoderTrainer(keras.Model):
    """The encoder alone, with scores of the blocks that are given."""

    def __init__(self, encoder: KnowledgeAugmentedEncoder):
        super().__init__()
        self.encoder = encoder

    def build(self, inputs_shape: Any) -> None:
        self.encoder.build(None, None)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        joint = tower_features(inputs, "joint")
        logits = self.encoder(
            joint, inputs["mask_positions"], training=training
        )
        log_probs = token_log_probs(logits, inputs["mask_ids"])
        loss = marginal_mlm_loss(
            inputs["scores"], log_probs, inputs["mask_weights"]
        )
        self.add_loss(loss)
        return loss


def rows(prefix: str, *shape: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(len(prefix))
    return {
        f"{prefix}_token_ids": rng.integers(
            1, VOCABULARY_SIZE, shape, dtype=np.int32
        ),
        f"{prefix}_segment_ids": np.zeros(shape, np.int32),
        f"{prefix}_padding_mask": np.ones(shape, np.int32),
    }


def make_step(
    model: keras.Model, features: dict[str, Any], jit: bool
) -> Callable[[], float]:
    """A step of training, which returns its loss."""
    model.build(None)
    model.compile(optimizer=BertAdamW(LEARNING_RATE), jit_compile=jit)
    model.optimizer.build(model.trainable_variables)
    model.make_train_function()
    batch = {name: tf.constant(value) for name, value in features.items()}
    data = iter(tf.data.Dataset.from_tensors((batch,)).repeat())
    return lambda: float(model.train_function(data)["loss"])


def make_peer_step(
    model: EncoderTrainer, features: dict[str, Any], dtype: str
) -> Callable[[], float]:
    """The same step with the same weights in transformers.

    Raises:
        RuntimeError: if its weights or its loss are others.
    """
    import torch
    import transformers

    trunk = model.encoder.backbone
    config = transformers.RealmConfig(
        vocab_size=trunk.vocabulary_size,
        hidden_size=trunk.hidden_dim,
        num_hidden_layers=trunk.num_layers,
        num_attention_heads=trunk.num_heads,
        intermediate_size=trunk.intermediate_dim,
        hidden_act="gelu_pytorch_tanh",  # "gelu_new", in one operation
        num_candidates=features["scores"].shape[1],
    )
    peer = transformers.RealmKnowledgeAugEncoder(config)
    names = PartNames(ENCODER, HUGGING_FACE, "realm.")
    weights = {}
    for variable in model.encoder.weights:
        path = keras_path(variable.path, f"{model.name}/{model.encoder.name}")
        value = names.to_source(path, np.asarray(variable.numpy()))
        weights[names.of(path)] = torch.tensor(value)
    left = peer.load_state_dict(weights, strict=False)
    missing = [n for n in left.missing_keys if not n.endswith(TIED)]
    if missing or left.unexpected_keys:
        raise RuntimeError(
            f"Weights differ: {missing} and {left.unexpected_keys}."
        )
    peer.eval()  # without dropout, as ours
    rows, _, length = features["joint_token_ids"].shape
    labels = np.zeros((rows, length), np.int64)
    mask = np.zeros((rows, length), np.int64)
    np.put_along_axis(
        labels, features["mask_positions"], features["mask_ids"], axis=1
    )
    np.put_along_axis(mask, features["mask_positions"], 1, axis=1)
    batch = {
        "input_ids": features["joint_token_ids"],
        "token_type_ids": features["joint_segment_ids"],
        "attention_mask": features["joint_padding_mask"],
        "relevance_score": features["scores"],
        "labels": labels,
        "mlm_mask": mask,
    }
    tensors = {name: torch.tensor(value) for name, value in batch.items()}
    optimizer = torch.optim.AdamW(peer.parameters(), lr=LEARNING_RATE)

    def step() -> float:
        optimizer.zero_grad()
        loss = peer(**tensors).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(peer.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    ours = float(model(features, training=False))
    with torch.no_grad():
        theirs = peer(**tensors).loss.item()
    if abs(ours - theirs) > LOSS_TOLERANCE[dtype] * abs(theirs):
        raise RuntimeError(f"The losses differ: {ours}, {theirs}.")
    return step


if __name__ == "__main__":
    main()
