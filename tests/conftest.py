"""What every test relies on: two devices, fixed seeds, a small vocabulary."""

import os
import pathlib

# Read once, when TensorFlow and Keras are imported; children inherit them.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest
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
