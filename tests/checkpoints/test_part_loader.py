import numpy as np
import pytest

from realm_tf.checkpoints.files.tensor_file import TensorFile
from realm_tf.checkpoints.part_loader import PartLoader
from realm_tf.checkpoints.variable_names import ENCODER, READER, TF1, PartNames
from realm_tf.errors import CheckpointError


class Given(TensorFile):
    def __init__(self, arrays):
        super().__init__("given")
        self.arrays = arrays
        self.shapes = {name: value.shape for name, value in arrays.items()}

    def read(self, name):
        return self.arrays[name]

    def _read_rows(self, name, start, stop):
        return self.arrays[name][start:stop]


def test_every_variable_is_used_once_or_skipped(release):
    arrays = release.ENCODER | {"extra/a": np.zeros(1), "extra/b": np.zeros(1)}
    loader = PartLoader(Given(arrays), num_heads=4)
    loader.load(PartNames(ENCODER, TF1))
    assert sorted(loader.used) == sorted(release.ENCODER)
    loader.skip("not needed", lambda name: name.endswith("a"))
    with pytest.raises(CheckpointError, match="Left over: extra/b"):
        loader.finish()
    loader.skip("nor this", lambda name: True)
    loader.finish()
    assert loader.skipped == {"extra/a": "not needed", "extra/b": "nor this"}


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_weights_that_are_no_numbers_are_refused(release, bad):
    name = sorted(release.ENCODER)[3]
    broken = np.array(release.ENCODER[name], np.float32)
    broken.flat[0] = bad
    loader = PartLoader(Given(release.ENCODER | {name: broken}), num_heads=4)
    with pytest.raises(CheckpointError, match=f"in {name} of given"):
        loader.load(PartNames(ENCODER, TF1))


class Described(TensorFile):
    """Shapes alone; nothing of them can be read."""

    def __init__(self, shapes):
        super().__init__("described")
        self.shapes = shapes

    def read(self, name):
        raise AssertionError(name)

    _read_rows = read


def test_larger_models_than_their_weights_are_not_built(release):
    shapes = {name: value.shape for name, value in release.ENCODER.items()}
    for name, shape in shapes.items():
        if name.endswith("intermediate/dense/bias"):
            shapes[name] = (10**9, *shape[1:])  # its kernel stays small
    loader = PartLoader(Described(shapes), num_heads=4)
    with pytest.raises(CheckpointError, match="as large as its weights.*descr"):
        loader.load(PartNames(ENCODER, TF1))


def test_layers_are_not_numbered_beyond_their_variables(release):
    shapes = {name: value.shape for name, value in release.ENCODER.items()}
    name = next(name for name in shapes if "layer_0/" in name)
    shapes[name.replace("layer_0/", "layer_999999999/")] = (1,)
    loader = PartLoader(Described(shapes), num_heads=4)
    with pytest.raises(CheckpointError, match="one of layer 999999999"):
        loader.load(PartNames(ENCODER, TF1))


def test_whole_numbers_are_no_weights(release):
    name = sorted(release.ENCODER)[3]
    broken = release.ENCODER[name].astype(np.int64)
    loader = PartLoader(Given(release.ENCODER | {name: broken}), num_heads=4)
    with pytest.raises(
        CheckpointError, match=f"floats. Received: {name} of ty"
    ):
        loader.load(PartNames(ENCODER, TF1))


def test_a_new_head_is_listed(release):
    loader = PartLoader(Given(release.ENCODER), num_heads=4)
    reader = loader.load(PartNames(READER, TF1), new_head=True, name="reader")
    assert len(loader.initial) == 6
    assert reader.span_hidden_dim == 256


def test_long_lists_are_cut(release):
    arrays = release.ENCODER | {f"x{i:02}": np.zeros(1) for i in range(25)}
    loader = PartLoader(Given(arrays), num_heads=4)
    loader.load(PartNames(ENCODER, TF1))
    with pytest.raises(CheckpointError, match="x19, and 5 more"):
        loader.finish()


def test_heads_are_64_wide_unless_told(release):
    shapes = release.trunk_shapes(40, 128, 16, 1, 8) | release.words_shapes(
        40, 128
    )
    loader = PartLoader(Given(release.make(shapes, 0)))
    assert loader.load(PartNames(ENCODER, TF1)).backbone.num_heads == 2
