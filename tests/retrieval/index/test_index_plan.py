import pytest

from realm_tf.errors import ResourceError
from realm_tf.options import ScannOptions
from realm_tf.retrieval.index import index_plan
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.retrieval.index.index_plan import IndexPlan

GB = 10**9


@pytest.fixture
def machine(monkeypatch):
    def with_(memory, disk=10**15):
        monkeypatch.setattr(index_plan, "memory_bytes", lambda: memory)
        monkeypatch.setattr(index_plan, "free_bytes", lambda path: disk)

    return with_


@pytest.mark.parametrize(
    ("num_blocks", "dim", "num_leaves", "build", "serving", "disk"),
    [
        # Measured by benchmarks/plan.py, in MB; None where the constant part
        # of a process is larger than that of the index.
        (300_000, 384, 548, 1_789, 286, 61),
        (200_000, 128, 3654, 1_350, None, None),
        (1_000_000, 128, 1000, 1_709, 214, 69),
    ],
)
def test_a_plan_is_what_was_measured_or_somewhat_more(
    num_blocks, dim, num_leaves, build, serving, disk
):
    options = ScannOptions(num_leaves=num_leaves)
    plan = IndexPlan(num_blocks, dim, "scann", "bfloat16", 0, options)
    assert plan.build_memory / 1e6 == pytest.approx(build, rel=0.05)
    if serving:
        assert serving <= plan.serving_memory / 1e6 <= 1.6 * serving
        assert plan.scann_bytes / 1e6 == pytest.approx(disk, rel=0.1)


def test_what_is_stored_and_what_is_searched_decide():
    plan = IndexPlan(1000, 8, "brute_force", "float32", wordpieces=100)
    assert plan.embedding_bytes == 32_000
    assert (plan.scann_bytes, plan.serving_memory) == (0, 0)
    assert plan.lexical_bytes == pytest.approx(130_000)
    assert plan.disk_bytes == plan.embedding_bytes + plan.lexical_bytes
    half = IndexPlan(1000, 8, "brute_force", "bfloat16", wordpieces=0)
    assert half.disk_bytes == 16_000
    assert half.build_memory == 0


def test_a_trillion_blocks_are_planned_and_refused(tmp_path):
    plan = IndexPlan(10**12, 384, "scann", "float32", wordpieces=288)
    assert plan.embedding_bytes == 10**12 * 384 * 4
    with pytest.raises(ResourceError, match=r"1,000,000,000,000 blocks"):
        plan.check(tmp_path)


def test_no_blocks_are_refused():
    with pytest.raises(ValueError, match="num_blocks=0"):
        IndexPlan(0, 8, "scann", "float32", wordpieces=0)


@pytest.mark.parametrize(
    ("memory", "disk", "message"),
    [
        (1 * GB, 100 * GB, r"needs 1.7 GB of memory. Received: 1.0 GB"),
        (2 * GB, 300 * 10**6, r"needs 0.6 GB of free disk. Received: 0.3 GB"),
    ],
)
def test_what_does_not_fit_is_refused(machine, memory, disk, message, tmp_path):
    plan = IndexPlan(10**6, 128, "scann", "float32", wordpieces=0)
    machine(memory, disk)
    with pytest.raises(ResourceError, match=message):
        plan.check(tmp_path)
    machine(2 * GB, 1 * GB)
    plan.check(tmp_path)


def test_a_build_that_does_not_fit_does_not_start(
    build_index, corpus, machine, make_embeddings, tmp_path
):
    rows = make_embeddings(20)
    chunks = []

    def embed():
        for start in range(0, 20, 5):
            chunks.append(start)
            yield rows[start : start + 5]

    machine(10**9, disk=100)
    path = tmp_path / "index"
    with pytest.raises(ResourceError, match="free disk"):
        build_index(rows=embed(), path=path)
    assert chunks == [0]
    with pytest.raises(ValueError, match="no index|holds no|must hold"):
        BlockIndex.open(path, corpus)
    assert build_index(rows=embed(), path=path, force=True).num_blocks == 20
