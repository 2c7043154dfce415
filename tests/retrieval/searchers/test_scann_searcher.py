import builtins
import os
import pathlib

import numpy as np
import pytest

from realm_tf._files import OpenFile
from realm_tf.errors import FolderError, ScannBuildError
from realm_tf.options import ScannOptions
from realm_tf.retrieval.searchers import scann_builder, scann_searcher
from realm_tf.retrieval.searchers.brute_force_searcher import BruteForceSearcher
from realm_tf.retrieval.searchers.embedding_matrix import EmbeddingMatrix
from realm_tf.retrieval.searchers.scann_searcher import ScannSearcher
from realm_tf.retrieval.searchers.searcher import exact_scores
from realm_tf.retrieval.searchers.searcher_recall import searcher_recall_at_k

NUM_BLOCKS = 2000


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(0)
    centers = generator.standard_normal((40, 16))
    noise = 0.4 * generator.standard_normal((NUM_BLOCKS, 16))
    return (centers[np.arange(NUM_BLOCKS) % 40] + noise).astype(np.float32)


@pytest.fixture(scope="module")
def built(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scann") / "files"
    options = ScannOptions(num_leaves=40, leaves_to_search=4)
    return ScannSearcher.build(rows, folder, options), folder


def test_search_is_approximate_with_exact_scores(built, rows):
    searcher, _ = built
    assert not searcher.is_exact
    queries = rows[:50] + np.float32(0.1)
    found = searcher.search(queries, 10)
    exact = BruteForceSearcher(rows).search(queries, 10)
    # ScaNN's training is random: 0.68 to 0.95 were seen.
    assert 0.4 < searcher_recall_at_k(found, exact, 10) < 1.0
    for number, query in enumerate(queries):
        np.testing.assert_array_equal(
            found.scores[number],
            exact_scores(query, rows)[found.block_ids[number]],
        )


def test_results_do_not_depend_on_the_batch(built, rows):
    searcher, _ = built
    together = searcher.search(rows[:40], 20)
    for number in range(40):
        alone = searcher.search(rows[number : number + 1], 20)
        np.testing.assert_array_equal(
            alone.block_ids[0], together.block_ids[number]
        )
        np.testing.assert_array_equal(alone.scores[0], together.scores[number])


def test_more_results_than_the_leaves_hold_are_found(built, rows):
    # Four of 40 leaves hold about 200 blocks; ScaNN alone would return those.
    searcher, _ = built
    result = searcher.search(rows[:2], NUM_BLOCKS + 1)
    assert (np.sort(result.block_ids[:, :-1]) == np.arange(NUM_BLOCKS)).all()
    assert (result.block_ids[:, -1] == -1).all()


def test_more_candidates_raise_recall(rows, tmp_path):
    queries = rows[:100] + np.float32(0.1)
    exact = BruteForceSearcher(rows).search(queries, 100)
    recalls = []
    for count in (1, 8):
        options = ScannOptions(
            num_leaves=10, leaves_to_search=10, candidates_per_result=count
        )
        searcher = ScannSearcher.build(rows, tmp_path / str(count), options)
        found = searcher.search(queries, 100)
        recalls.append(searcher_recall_at_k(found, exact, 100))
    assert recalls[0] < recalls[1]


def test_build_from_files_equals_build_from_an_array(built, rows, tmp_path):
    np.save(tmp_path / "rows.npy", rows)
    matrix = EmbeddingMatrix(
        [rows], dim=16, max_norm=9.0, files=[OpenFile(tmp_path / "rows.npy")]
    )
    options = ScannOptions(num_leaves=40, leaves_to_search=40)
    searcher = ScannSearcher.build(matrix, tmp_path / "scann", options)
    exact = BruteForceSearcher(rows).search(rows[:9], 5)
    np.testing.assert_array_equal(
        searcher.search(rows[:9], 5).block_ids, exact.block_ids
    )


def test_a_moved_folder_loads(built, rows, tmp_path):
    searcher, folder = built
    moved = tmp_path / "ein Ördner mit Leerzeichen"
    moved.mkdir()
    for file in folder.iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    loaded = ScannSearcher.load(moved, rows)
    np.testing.assert_array_equal(
        loaded.search(rows[:9], 5).block_ids,
        searcher.search(rows[:9], 5).block_ids,
    )


@pytest.mark.parametrize("bad", [np.nan, 3e38])
def test_i22_an_abort_of_scann_is_an_error(tmp_path, rows, bad):
    rows = rows.copy()
    rows[5] = bad
    np.save(tmp_path / "rows.npy", rows)
    # Past the checks of EmbeddingMatrix, as a bug might let it through.
    matrix = EmbeddingMatrix(
        [rows], dim=16, max_norm=1.0, files=[OpenFile(tmp_path / "rows.npy")]
    )
    with pytest.raises(ScannBuildError, match="cluster_idx < num_clusters"):
        ScannSearcher.build(matrix, tmp_path / "scann")
    assert not (tmp_path / "scann").exists()


def test_i22_a_killed_build_names_signal_and_parameters(
    tmp_path, rows, monkeypatch
):
    program = tmp_path / "killed.py"
    program.write_text(
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )
    monkeypatch.setattr(scann_builder, "__file__", str(program))
    with pytest.raises(ScannBuildError, match="SIGKILL.*num_leaves=45"):
        ScannSearcher.build(rows, tmp_path / "scann")


def test_build_refuses_bad_rows_before_scann_sees_them(rows, tmp_path):
    rows = rows.copy()
    rows[5] = np.inf
    with pytest.raises(ValueError, match=r"rows \[5\] are not"):
        ScannSearcher.build(rows, tmp_path / "scann")


def test_i13_a_pickle_is_refused_and_not_run(built, rows, tmp_path):
    _, folder = built
    ran = tmp_path / "ran"
    pickled = b"cos\nmkdir\n(V" + os.fsencode(ran) + b"\ntR."
    (folder / "scann_docids.pkl").write_bytes(pickled)
    try:
        with pytest.raises(FolderError, match="must not hold scann_docids.pkl"):
            ScannSearcher.load(folder, rows)
    finally:
        (folder / "scann_docids.pkl").unlink()
    assert not ran.exists()


def test_load_refuses_embeddings_of_another_number(built, rows):
    _, folder = built
    with pytest.raises(FolderError, match="Expected: 9 rows.*2000 rows"):
        ScannSearcher.load(folder, rows[:9])


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("scann_assets.pbtxt", "must hold scann_assets.pbtxt"),
        ("options.json", "must hold the options"),
        ("ah_codebook.pb", "that ScaNN can read"),
        ("hashed_dataset.npy", "that ScaNN can read"),
    ],
)
def test_load_refuses_a_missing_file(built, rows, tmp_path, name, match):
    _, folder = built
    for file in folder.iterdir():
        if file.name != name:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(FolderError, match=match):
        ScannSearcher.load(tmp_path, rows)


@pytest.mark.parametrize("error", [ImportError, OSError, RuntimeError])
def test_e01_scann_that_does_not_import_is_an_import_error(
    monkeypatch, rows, tmp_path, error
):
    real_import = builtins.__import__

    def fail(name, *args, **keywords):
        if name.startswith("scann."):
            raise error("undefined symbol")
        return real_import(name, *args, **keywords)

    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(ImportError, match="pip install.*undefined symbol"):
        ScannSearcher.build(rows, tmp_path / "scann")


@pytest.mark.parametrize(
    ("cpuinfo", "usable"),
    [
        ("flags\t: fpu avx avx2 fma\n", True),
        ("flags\t: fpu avx\n", False),
        ("Features\t: fp asimd\n", True),
    ],
)
def test_e01_a_processor_without_avx2_is_an_import_error(
    monkeypatch, cpuinfo, usable
):
    monkeypatch.setattr(pathlib.Path, "read_text", lambda path: cpuinfo)
    if usable:
        scann_searcher.import_scann()
    else:
        with pytest.raises(ImportError, match="no AVX2"):
            scann_searcher.import_scann()
