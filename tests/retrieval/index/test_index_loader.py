import json
import os
import shutil
import stat

import numpy as np
import pytest

from realm_tf import _manifest
from realm_tf.errors import FolderError, MismatchError
from realm_tf.options import ScannOptions
from realm_tf.retrieval.index.block_index import BlockIndex


@pytest.fixture(scope="module")
def template(tmp_path_factory, make_corpus, make_embeddings):
    """An index folder with a file of every kind, built once."""
    path = tmp_path_factory.mktemp("template") / "index"
    BlockIndex.build(
        path,
        make_corpus(100),
        make_embeddings(100),
        embedder_fingerprint="embedder-a",
        searcher="scann",
        scann=ScannOptions(num_leaves=4, leaves_to_search=4),
    )
    return path


@pytest.fixture
def scann_index(template, make_corpus, make_blocks, tmp_path):
    """A copy of it with an update."""
    path = tmp_path / "index"
    shutil.copytree(template, path)
    index = BlockIndex.open(path, make_corpus(100))
    index.add(make_blocks("new"), np.ones((1, 8)))
    return index


def files_of(index):
    """Every file that belongs to the version, its journal too."""
    files = [p for p in index.folder.rglob("*") if p.is_file()]
    return [*sorted(files), index.path / f"{index.folder.name}.updates"]


def reopen(index, **keywords):
    return BlockIndex.open(index.path, index.corpus, **keywords)


def edit_manifest(index, edit, sign=True):
    """Changes a manifest as someone would who can sign it."""
    path = index.folder / "manifest.json"
    content = json.loads(path.read_text())
    edit(content)
    if sign:
        del content["sha256"]
        content["sha256"] = _manifest.json_sha256(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("name", ["corpus", "tokenizer", "embedder"])
def test_i01_i02_i03_i06_what_does_not_belong_together_is_refused(
    build_index, make_corpus, name
):
    given = {"corpus": "corpus-a", "tokenizer": "tokenizer-a"}
    embedder = "embedder-a"
    index = build_index()
    if name == "embedder":
        embedder = "embedder-b"
    else:
        given[name] = f"{name}-b"
    corpus = make_corpus(20, given["corpus"], given["tokenizer"])
    pattern = (
        rf"{name} +index={name}-a +given={name}-b +<- differs"
        r"(.|\n)*realm-tf index"
    )
    with pytest.raises(MismatchError, match=pattern):
        BlockIndex.open(index.path, corpus, embedder_fingerprint=embedder)
    with pytest.warns(UserWarning, match=pattern):
        mismatched = BlockIndex.open(
            index.path,
            corpus,
            embedder_fingerprint=embedder,
            allow_mismatch=True,
        )
    assert mismatched.is_mismatched
    assert not index.is_mismatched


def test_i05_another_number_of_blocks_is_always_refused(
    build_index, make_corpus
):
    index = build_index()
    for allow_mismatch in (False, True):
        with pytest.raises(MismatchError, match="index=20 +given=21 "):
            BlockIndex.open(
                index.path, make_corpus(21), allow_mismatch=allow_mismatch
            )


def test_i07_flipped_byte_in_any_file_is_refused(scann_index):
    for file in files_of(scann_index):
        whole = file.read_bytes()
        # Updates have two headers: with one of them they are still read.
        first = 1024 if file.suffix == ".updates" else 0
        for position in {first, (first + len(whole)) // 2, len(whole) - 2}:
            changed = bytearray(whole)
            changed[position] ^= 1
            file.write_bytes(changed)
            with pytest.raises(FolderError, match=file.name):
                reopen(scann_index)
        file.write_bytes(whole)
    reopen(scann_index)


def test_i08_any_cut_file_is_refused(scann_index):
    for file in files_of(scann_index):
        whole = file.read_bytes()
        # A manifest ends in a line break that means nothing.
        for length in {0, len(whole) // 2, len(whole.rstrip(b"\n")) - 1}:
            file.write_bytes(whole[:length])
            for verify in (True, False):  # sizes are always compared
                with pytest.raises(FolderError, match=file.name):
                    reopen(scann_index, verify=verify)
        file.write_bytes(whole)


def test_i09_any_missing_file_is_refused(scann_index, tmp_path):
    for file in files_of(scann_index):
        moved = file.rename(tmp_path / "moved")
        # Without a manifest, the version does not exist.
        match = r"versions=\[\]" if file.name == "manifest.json" else file.name
        with pytest.raises(FolderError, match=match):
            reopen(scann_index)
        moved.rename(file)


def test_i09_an_extra_file_is_ignored_with_a_warning(scann_index, caplog):
    (scann_index.folder / "notes.txt").write_text("mine")
    reopen(scann_index)
    assert "notes.txt" in caplog.text


def test_i10_a_newer_format_is_refused(scann_index):
    edit_manifest(scann_index, lambda m: m.update(format_version=2))
    with pytest.raises(FolderError, match="format_version=2.*Upgrade realm_tf"):
        reopen(scann_index)


def test_i12_moved_read_only_and_with_odd_names(scann_index, tmp_path):
    moved = tmp_path / "Ä index, mit Leerzeichen" / "x y"
    shutil.copytree(scann_index.path, moved)
    shutil.rmtree(scann_index.path)
    for path in [moved, *moved.rglob("*")]:
        path.chmod(path.stat().st_mode & ~stat.S_IWUSR)
    index = BlockIndex.open(moved, scann_index.corpus)
    result = index.search(np.ones((1, 8)), 5)
    assert (result.block_ids >= 0).all()
    for path in [moved, *moved.rglob("*")]:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)


def test_i13_a_pickle_among_scanns_files_is_refused(scann_index, tmp_path):
    ran = tmp_path / "ran"
    pickled = b"cos\nmkdir\n(V" + os.fsencode(ran) + b"\ntR."
    (scann_index.folder / "scann" / "scann_docids.pkl").write_bytes(pickled)
    with pytest.raises(FolderError, match="must not hold scann_docids.pkl"):
        reopen(scann_index)
    assert not ran.exists()


@pytest.mark.parametrize("count", [10**12, 10**18, -1, "20", 1.5, True, None])
def test_i14_impossible_counts_are_refused(scann_index, count):
    edit_manifest(scann_index, lambda m: m["counts"].update(num_blocks=count))
    with pytest.raises((FolderError, MismatchError)):
        reopen(scann_index)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("counts", "embedding_dim", 10**12),
        ("counts", "num_excluded", 10**12),
        ("options", "dtype", "float64"),
        ("options", "max_norm", "big"),
        ("options", "searcher", None),
        ("fingerprints", "corpus", None),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(
    scann_index, section, name, value
):
    def edit(manifest):
        manifest[section][name] = value
        if value is None:
            del manifest[section][name]

    edit_manifest(scann_index, edit)
    with pytest.raises(FolderError, match=f"{name}|must hold|must say"):
        reopen(scann_index)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd"])
def test_i15_a_file_outside_the_folder_is_refused(scann_index, name):
    def edit(manifest):
        manifest["files"][name] = {"size": 1, "sha256": ""}

    edit_manifest(scann_index, edit)
    with pytest.raises(FolderError, match="files of its own folder only"):
        reopen(scann_index)


def test_i15_a_link_out_of_the_folder_is_refused(scann_index, tmp_path):
    file = scann_index.folder / "excluded_block_ids.npy"
    outside = file.rename(tmp_path / "outside.npy")
    file.symlink_to(outside)
    with pytest.raises(FolderError, match="files of its own folder only"):
        reopen(scann_index)


def test_e01_an_index_with_scann_opens_without_it(scann_index, monkeypatch):
    def fail():
        raise ImportError("no scann here")

    monkeypatch.setattr(
        "realm_tf.retrieval.searchers.scann_searcher.import_scann", fail
    )
    with pytest.warns(UserWarning, match="100 blocks will be.*no scann here"):
        index = reopen(scann_index)
    assert index.is_exact
    queries = np.ones((1, 8))
    np.testing.assert_array_equal(
        index.search(queries, 5).block_ids,
        scann_index.search(queries, 5).block_ids,
    )


def test_exact_ignores_the_scann_files(scann_index):
    assert not reopen(scann_index).is_exact
    assert reopen(scann_index, exact=True).is_exact


def test_verify_false_reads_no_more_than_sizes(scann_index, monkeypatch):
    def fail(path):
        raise AssertionError(path)

    monkeypatch.setattr(_manifest, "file_sha256", fail)
    reopen(scann_index, verify=False)
