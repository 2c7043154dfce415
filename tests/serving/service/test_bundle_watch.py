import dataclasses

import pytest

from realm_tf.errors import FolderError
from realm_tf.serving.bundle import (
    BUNDLE_NAME,
    READER,
    Bundle,
    write_bundle,
)
from realm_tf.serving.service.bundle_watch import BundleWatch


@pytest.fixture
def first(tmp_path):
    bundle = Bundle(
        path=tmp_path,
        featurizer={"lowercase": True},
        num_read=5,
        num_answers=5,
        max_span_width=10,
        embedding_dim=4,
        embedder_fingerprint="e1",
        reader_fingerprint="r1",
        tokenizer_fingerprint="t1",
        models={READER: 1},
    )
    write_bundle(bundle)
    return bundle


def export_again(first, watch, **changes):
    write_bundle(dataclasses.replace(first, **changes))
    watch.look()


def test_newest_export_is_known(first):
    watch = BundleWatch(first.path)
    assert watch.newest == first
    export_again(first, watch, reader_fingerprint="r2")
    assert watch.newest.reader_fingerprint == "r2"


@pytest.mark.parametrize(
    "changes",
    [{"tokenizer_fingerprint": "t2"}, {"featurizer": {"lowercase": False}}],
)
def test_another_tokenizer_needs_a_restart(first, changes):
    watch = BundleWatch(first.path)
    export_again(first, watch, reader_fingerprint="r2")
    assert not watch.problem
    export_again(first, watch, **changes)
    assert "another tokenizer. Restart" in watch.problem
    export_again(first, watch)
    assert not watch.problem


def test_damaged_bundle_is_refused(first):
    watch = BundleWatch(first.path)
    (first.path / BUNDLE_NAME).write_text("{")
    with pytest.raises(FolderError, match="must hold what"):
        watch.look()
    assert watch.newest == first
