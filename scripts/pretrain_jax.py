"""Pre-trains on masked words with JAX, from features TensorFlow wrote.

Text and retrieval need TensorFlow; the model does not. So one machine writes
the model and batches of features, and another one trains on them, on a GPU
for instance. Weights go both ways in Keras' own file.

    python scripts/pretrain_jax.py features --preset ict --corpus corpus \
        --output features --num-batches 1000 --batch-size 64
    KERAS_BACKEND=jax python scripts/pretrain_jax.py train \
        --features features --output trained.keras
    python scripts/pretrain_jax.py preset --preset ict \
        --trained trained.keras --output realm

The index in `features` is of the weights it began with: for a refresh, make a
preset of what was trained and write features of it into a new folder.
Candidates are recomputed with the current weights either way.
"""

import argparse
import pathlib
import time

import keras
import numpy as np

from realm_tf import RealmPretrainer
from realm_tf.optimizers import BertAdamW, WarmupLinearDecay

MASKS = ("salient", "recurring", "random-tokens", "random-spans")
MODEL_NAME = "model.keras"


def main() -> None:
    arguments = vars(parse_arguments())
    {"features": write_features, "train": train, "preset": write_preset}[
        arguments.pop("command")
    ](**arguments)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    features = commands.add_parser("features", help="with TensorFlow")
    features.add_argument("--preset", required=True)
    features.add_argument("--corpus", required=True)
    features.add_argument("--output", required=True, type=pathlib.Path)
    features.add_argument("--num-batches", required=True, type=int)
    features.add_argument("--batch-size", default=64, type=int)
    features.add_argument("--query-length", default=96, type=int)
    features.add_argument("--masks", default="salient", choices=MASKS)
    trainer = commands.add_parser("train", help="with any backend")
    trainer.add_argument("--features", required=True, type=pathlib.Path)
    trainer.add_argument("--output", required=True, type=pathlib.Path)
    trainer.add_argument("--learning-rate", default=3e-5, type=float)
    trainer.add_argument("--num-warmup-steps", type=int)
    preset = commands.add_parser("preset", help="with TensorFlow")
    preset.add_argument("--preset", required=True)
    preset.add_argument("--trained", required=True, type=pathlib.Path)
    preset.add_argument("--output", required=True, type=pathlib.Path)
    return parser.parse_args()


def write_features(
    preset: str,
    corpus: str,
    output: pathlib.Path,
    num_batches: int,
    batch_size: int,
    query_length: int,
    masks: str,
) -> None:
    """Writes a model and batches of fixed shape for it."""
    # Here, as they need TensorFlow.
    from realm_tf import RealmQA
    from realm_tf.data import Corpus, make_masks
    from realm_tf.options import MaskedSentenceOptions
    from realm_tf.training import write_masked_features

    if output.exists():
        raise SystemExit(
            f"`--output` must be a new folder. Received: {output}, which "
            "exists. Choose another, or delete it."
        )
    opened = Corpus.open(corpus)
    model = write_masked_features(
        RealmQA.from_preset(preset),
        opened,
        make_masks(masks, opened),
        output,
        MaskedSentenceOptions(
            batch_size=batch_size, query_length=query_length, trim=False
        ),
        num_batches=num_batches,
    )
    model.save(output / MODEL_NAME)


def train(
    features: pathlib.Path,
    output: pathlib.Path,
    learning_rate: float,
    num_warmup_steps: int | None,
) -> None:
    """Trains on all batches once, and says how fast it was."""
    model: RealmPretrainer = keras.saving.load_model(features / MODEL_NAME)
    files = sorted(features.glob("batch-*.npz"))
    steps = len(files)
    model.compile(
        optimizer=BertAdamW(
            WarmupLinearDecay(learning_rate, steps, num_warmup_steps)
        )
    )
    start = time.monotonic()
    history = model.fit(
        _Batches(files), epochs=1, shuffle=False, verbose=0
    ).history
    seconds = time.monotonic() - start
    model.save(output)
    batch_size = len(_read(files[0])["index_age"])
    print(
        f"{keras.backend.backend()}: {steps} steps of {batch_size} examples, "
        f"{steps * batch_size / seconds:.1f} examples/s with compilation, "
        f"loss {history['loss'][-1]:.4f}, "
        f"utility {history['retrieval_utility'][-1]:.4f}"
    )


class _Batches(keras.utils.PyDataset):
    def __init__(self, files: list[pathlib.Path]):
        super().__init__()
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, step: int) -> tuple[dict[str, np.ndarray]]:
        return (_read(self.files[step]),)


def write_preset(
    preset: str, trained: pathlib.Path, output: pathlib.Path
) -> None:
    """A preset with the weights that were trained."""
    from realm_tf import RealmQA

    qa = RealmQA.from_preset(preset)
    model: RealmPretrainer = keras.saving.load_model(trained, compile=False)
    qa.block_embedder.set_weights(model.embedder.get_weights())
    qa.query_embedder.set_weights(model.query_embedder.get_weights())
    qa.reader.backbone.set_weights(model.encoder.backbone.get_weights())
    qa.encoder = model.encoder
    qa.projection_fitted = True  # to the corpus, and trained since
    qa.save_to_preset(output)


def _read(file: pathlib.Path) -> dict[str, np.ndarray]:
    with np.load(file) as arrays:
        return dict(arrays)


if __name__ == "__main__":
    main()
