import numpy as np
import pytest

from realm_tf.checkpoints.files.tf_checkpoint import (
    TFCheckpoint,
    is_tf_checkpoint,
)
from realm_tf.errors import CheckpointError

MATRIX = np.random.default_rng(0).normal(size=(301, 4)).astype(np.float32)


@pytest.fixture
def prefix(release, tmp_path):
    variables = {f"other/{i:03}": np.full(i, i) for i in range(300)}
    release.save_checkpoint(tmp_path / "a.ckpt", {**variables, "m": MATRIX})
    return tmp_path / "a.ckpt"


def test_variables_are_read_whole_and_in_rows(prefix):
    file = TFCheckpoint(prefix)
    assert file.shapes["m"] == (301, 4)
    assert len(file.shapes) == 301
    np.testing.assert_array_equal(file.read("m"), MATRIX)
    parts = list(file.rows("m", at_once=100))
    assert [len(part) for part in parts] == [100, 100, 100, 1]
    np.testing.assert_array_equal(np.concatenate(parts), MATRIX)
    assert file.read("other/007").tolist() == [7] * 7


def test_a_cut_data_file_is_named_with_its_size(prefix):
    file = TFCheckpoint(prefix)
    [data] = prefix.parent.glob("*.data-*")
    size = data.stat().st_size
    data.write_bytes(data.read_bytes()[: size // 4])
    with pytest.raises(CheckpointError, match=r"a.ckpt.data-00000-of-00001 of"):
        list(file.rows("m"))
    with pytest.raises(CheckpointError, match="must be a whole checkpoint"):
        TFCheckpoint(prefix).read("m")


def test_a_damaged_index_is_refused(prefix):
    index = prefix.with_name("a.ckpt.index")
    data = index.read_bytes()
    for end in (0, 10, len(data) // 2, len(data) - 1):
        index.write_bytes(data[:end])
        with pytest.raises(CheckpointError, match="must be a whole checkpoint"):
            TFCheckpoint(prefix)


def test_a_missing_checkpoint_is_refused(tmp_path):
    assert not is_tf_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="must be a whole checkpoint"):
        TFCheckpoint(tmp_path / "a.ckpt")
