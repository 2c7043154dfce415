import json
import os
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

from realm_tf.options import ScannOptions
from realm_tf.retrieval.searchers import scann_builder


def test_load_rows_joins_shards_and_widens_bfloat16(tmp_path, make_embeddings):
    rows = make_embeddings(10)
    bits = rows.astype(ml_dtypes.bfloat16).view(np.uint16)
    np.save(tmp_path / "a.npy", rows[:4])
    np.save(tmp_path / "b.npy", bits[4:])
    shards = [str(tmp_path / "a.npy"), str(tmp_path / "b.npy")]
    loaded = scann_builder.load_rows(shards, 10, 8)
    np.testing.assert_array_equal(loaded[:4], rows[:4])
    np.testing.assert_array_equal(
        loaded[4:], rows[4:].astype(ml_dtypes.bfloat16).astype(np.float32)
    )


@pytest.fixture
def run(tmp_path, make_embeddings):
    pytest.importorskip("scann")  # which another process imports

    def run(options):
        np.save(tmp_path / "rows.npy", make_embeddings(200))
        folder = tmp_path / "scann"
        folder.mkdir()
        request = {
            "shards": [str(tmp_path / "rows.npy")],
            "num_rows": 200,
            "dim": 8,
            "folder": str(folder),
            "options": vars(options.resolve(200)),
        }
        subprocess.run(
            [sys.executable, scann_builder.__file__],
            input=json.dumps(request).encode(),
            check=True,
            capture_output=True,
        )
        return folder

    return run


def test_files_hold_no_absolute_path_and_no_second_copy(run, tmp_path):
    folder = run(ScannOptions())
    assets = (folder / "scann_assets.pbtxt").read_text()
    assert str(tmp_path) not in assets
    # Without ScaNN's own reordering, the embeddings are not stored again.
    assert "dataset.npy" not in os.listdir(folder)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (ScannOptions(num_leaves=5), "num_children: 5"),
        (
            ScannOptions(num_leaves=5, leaves_to_search=3),
            "max_spill_centers: 3",
        ),
        (ScannOptions(dimensions_per_block=4), "num_blocks: 2"),
        (ScannOptions(training_sample_size=99), "expected_sample_size: 99"),
        (
            ScannOptions(anisotropic_threshold=0.0),
            "noise_shaping_threshold: nan",
        ),
    ],
)
def test_options_reach_scann(run, options, expected):
    from scann.scann_ops.py import scann_ops_pybind

    searcher = scann_ops_pybind.load_searcher(str(run(options)))
    assert expected in searcher.config()
