"""Weights and embeddings that are NaN, infinite or overflow."""

import random
import shutil

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

from realm_tf import RealmQA, _manifest
from realm_tf._constants import MISSING_BLOCK_ID
from realm_tf.data.corpus.blocks import Block
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.errors import CheckpointError, RealmError
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.retrieval.index.journal import Journal

pytestmark = pytest.mark.attack

BAD = (np.nan, np.inf, -np.inf, 7e4, -1e30)
NUM_WEIGHTS = 40
NUM_EMBEDDINGS = 300
NUM_STORED = 100
OVERFLOWS = (("mixed_float16", 6e4), ("mixed_float16", 3e2), ("float32", 6e4))


def rewritten(source, target, kind, name, change):
    """A folder with one file changed, as if it had been written so."""
    manifest = _manifest.read_manifest(source, kind)
    with _manifest.write_folder(target, kind) as writer:
        shutil.copytree(source, writer.path, dirs_exist_ok=True)
        (writer.path / _manifest.MANIFEST_NAME).unlink()
        change(writer.path / name)
        writer.describe(
            counts=manifest.counts,
            fingerprints=manifest.fingerprints,
            options=manifest.options,
        )
    return target


def change_weights(file, change):
    with safe_open(file, "numpy") as opened:
        metadata = opened.metadata()
        weights = {name: opened.get_tensor(name) for name in opened.keys()}
    change(weights)
    safetensors.numpy.save_file(weights, file, metadata)


@pytest.fixture(scope="module")
def preset(folders, tmp_path_factory):
    """Without corpus and index, which would take time."""
    path = tmp_path_factory.mktemp("numbers") / "preset"
    RealmQA.from_preset(folders / "one" / "preset").save_to_preset(path)
    return path


def test_bad_weights_are_refused_by_name(preset, tmp_path, count):
    generator = random.Random(0)
    for number in range(NUM_WEIGHTS):
        part = generator.choice(["query_embedder", "reader"])
        bad = generator.choice(BAD)

        def change(weights, bad=bad):
            name = generator.choice(sorted(weights))
            flat = weights[name].ravel()
            flat[generator.randrange(len(flat))] = bad

        path = rewritten(
            preset,
            tmp_path / f"{number}",
            "preset",
            f"{part}.safetensors",
            lambda file, change=change: change_weights(file, change),
        )
        with pytest.raises(CheckpointError, match=f"in .* of {part} of {path}"):
            RealmQA.from_preset(path)
        shutil.rmtree(path)
    count("weights that are no numbers", "named", NUM_WEIGHTS)


@pytest.mark.parametrize(("dtype", "size"), OVERFLOWS)
def test_weights_that_overflow_give_no_wrong_answer(
    preset, cities, tmp_path, dtype, size, count
):
    """Legal numbers, beyond float16 once they are multiplied."""

    def change(weights):
        for name, array in weights.items():
            if "embedding" in name or "dense" in name:
                array[...] = np.sign(array) * size

    path = rewritten(
        preset,
        tmp_path / "preset",
        "preset",
        "reader.safetensors",
        lambda file: change_weights(file, change),
    )
    qa = RealmQA.from_preset(path, dtype=dtype)
    qa.build_index(cities)
    try:
        answers = qa.predict(["Where is Paris?", "Who?"])
    except RealmError as error:
        assert "finite" in str(error)
        count(f"weights that overflow in {dtype}", "refused")
        return
    for answer in answers:
        assert np.isfinite(answer.probability)
        assert 0 <= answer.probability <= 1
    count(f"weights that overflow in {dtype}", "finite probabilities")


def test_bad_embeddings_and_queries_are_refused(folders, tmp_path, count):
    generator = random.Random(0)
    corpus = Corpus.open(folders / "one" / "corpus")
    good = np.eye(4, dtype=np.float32)[np.arange(corpus.num_blocks) % 4]
    index = BlockIndex.build(
        tmp_path / "index", corpus, good, embedder_fingerprint="e"
    )
    before = index.search(good[:2], 5)
    for _ in range(NUM_EMBEDDINGS):
        rows = good.copy()
        row, bad = generator.randrange(len(rows)), generator.choice(BAD[:3])
        rows[row, generator.randrange(4)] = bad
        what = generator.choice(["build", "add", "search", "skip"])
        if what == "skip":
            skipped = BlockIndex.build(
                tmp_path / "skipped",
                corpus,
                rows,
                embedder_fingerprint="e",
                skip_bad=True,
            )
            found = skipped.search(good[:4], corpus.num_blocks)
            assert row not in found.block_ids
            known = found.block_ids != MISSING_BLOCK_ID
            assert np.isfinite(found.scores[known]).all()
        else:
            with pytest.raises(ValueError, match="must be finite"):
                if what == "build":
                    BlockIndex.build(
                        tmp_path / "index",
                        corpus,
                        rows,
                        embedder_fingerprint="e",
                    )
                elif what == "add":
                    block = Block("text", document_id="bad")
                    index.add([block], rows[row : row + 1])
                else:
                    index.search(rows[: row + 1], 5)
        outcome = "left out" if what == "skip" else "refused"
        count("embeddings that are no numbers", outcome)
    after = BlockIndex.open(tmp_path / "index", corpus).search(good[:2], 5)
    np.testing.assert_array_equal(after.block_ids, before.block_ids)


def test_stored_embeddings_that_are_no_numbers_are_never_found(
    folders, tmp_path, count
):
    """An index with valid checksums that no realm_tf would have written."""
    generator = random.Random(0)
    corpus = Corpus.open(folders / "one" / "corpus")
    good = np.eye(4, dtype=np.float32)[np.arange(corpus.num_blocks) % 4]
    index = BlockIndex.build(
        tmp_path / "index", corpus, good, embedder_fingerprint="e"
    )
    (name,) = (path.name for path in index.folder.glob("embeddings-*"))
    for number in range(NUM_STORED):
        row, bad = generator.randrange(len(good)), generator.choice(BAD[:3])

        def change(file, row=row, bad=bad):
            rows = np.load(file)
            rows[row] = bad
            np.save(file, rows)

        folder = tmp_path / f"{number}"
        version = rewritten(
            index.folder, folder / "v000001", "index", name, change
        )
        manifest = _manifest.read_manifest(version, "index")
        Journal.create(folder / "v000001.updates", manifest.fingerprint)
        with np.errstate(invalid="ignore"):
            found = BlockIndex.open(folder, corpus).search(good[:4], len(good))
        assert row not in found.block_ids
        known = found.block_ids != MISSING_BLOCK_ID
        assert known.sum(axis=1).tolist() == [len(good) - 1] * 4
        assert np.isfinite(found.scores[known]).all()
        count("stored embeddings that are no numbers", "never found")
        shutil.rmtree(folder)
