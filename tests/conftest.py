"""What every test relies on: two devices, fixed seeds, a small vocabulary."""

import json
import os
import pathlib
import shutil

# Read once, when TensorFlow and Keras are imported; children inherit them.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from realm_tf.data.featurizers import Featurizer

FIXTURES = pathlib.Path(__file__).parent / "fixtures"


def pytest_configure() -> None:
    # Before the first operation starts TensorFlow: MirroredStrategy then has
    # two replicas on every machine.
    cpus = tf.config.list_physical_devices("CPU")
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpus[0], two)


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """The same seeds of Python, NumPy and Keras before every test."""
    keras.utils.set_random_seed(2020)


@pytest.fixture(scope="session")
def featurizer() -> Featurizer:
    """Uncased BERT with 1,895 of its 30,522 wordpieces."""
    return Featurizer.from_file(FIXTURES / "vocab_small.txt")


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory) -> pathlib.Path:
    """A BERT folder in the Hugging Face layout: 2 layers, width 4."""
    vocabulary = FIXTURES / "vocab_small.txt"
    config = {
        "model_type": "bert",
        "vocab_size": len(vocabulary.read_text("utf-8").splitlines()),
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "hidden_size": 4,
        "intermediate_size": 8,
        "max_position_embeddings": 512,
    }
    folder = tmp_path_factory.mktemp("tiny_bert")
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copy(vocabulary, folder / "vocab.txt")
    rng = np.random.default_rng(2020)
    weights = {
        name: rng.normal(0, 0.5, shape).astype(np.float32)
        for name, shape in _bert_shapes(config["vocab_size"]).items()
    }
    safetensors.numpy.save_file(weights, folder / "model.safetensors")
    return folder


def _bert_shapes(vocabulary_size: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (vocabulary_size, 4),
        "embeddings.position_embeddings.weight": (512, 4),
        "embeddings.token_type_embeddings.weight": (2, 4),
        "embeddings.LayerNorm.weight": (4,),
        "embeddings.LayerNorm.bias": (4,),
        "pooler.dense.weight": (4, 4),
        "pooler.dense.bias": (4,),
    }
    for layer in ("encoder.layer.0", "encoder.layer.1"):
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes[f"{layer}.attention.{part}.weight"] = (4, 4)
            shapes[f"{layer}.attention.{part}.bias"] = (4,)
        for part, size in (("intermediate", (8, 4)), ("output", (4, 8))):
            shapes[f"{layer}.{part}.dense.weight"] = size
            shapes[f"{layer}.{part}.dense.bias"] = size[:1]
        for part in ("attention.output", "output"):
            shapes[f"{layer}.{part}.LayerNorm.weight"] = (4,)
            shapes[f"{layer}.{part}.LayerNorm.bias"] = (4,)
    return shapes
