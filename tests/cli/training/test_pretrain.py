import json

import click
import numpy as np
import pytest

from realm_tf.realm_qa import RealmQA
from realm_tf.training import pretraining_stages
from realm_tf.training.pretraining import read_log

QUICK = ("--num-steps", 2, "--log-every", 1, "--checkpoint-every", 1)
STEPS = (*QUICK, "--num-warmup-steps", 0, "--dropout", 0)


@pytest.fixture(scope="module")
def ict(corpus, questions_file, run, tiny_bert, tmp_path_factory):
    """A preset after two steps of ICT, and what the command said."""
    output = tmp_path_factory.mktemp("ict") / "preset"
    facts = run(
        *("pretrain", "ict", "--bert", tiny_bert, "--corpus", corpus),
        *("--output", output, "--batch-size", 2, "--embedding-dim", 4),
        *("--pooling", "cls", "--logit-scale", 2, "--json", *STEPS),
        *("--probe", questions_file, "--probe-split", "test"),
        *("--query-length", 12, "--block-length", 40),
    ).json
    return output, facts


def test_ict_makes_a_preset_and_a_log(ict):
    output, facts = ict
    assert facts["step"] == 2
    assert facts["loss"] > 0
    assert 0 <= facts["first_recall_at_5"] <= facts["recall_at_20"] <= 1
    work = output.with_name("preset.training")
    assert facts["work"] == str(work)
    assert [line["step"] for line in read_log(work)] == [1, 2]
    embedder = RealmQA.from_preset(output).block_embedder
    assert embedder.pooling == "cls"
    gamma = np.asarray(embedder.layer_norm.gamma)
    np.testing.assert_allclose((gamma**2).sum(), 2.0, rtol=1e-2)


@pytest.fixture
def mlm(corpus, ict, tmp_path):
    return (
        *("pretrain", "mlm", "--preset", ict[0], "--corpus", corpus),
        *("--output", tmp_path / "realm", "--batch-size", 2),
        *("--num-candidates", 3, "--refresh-every", 1, *STEPS),
    )


def test_mlm_goes_on_with_questions_as_a_probe(
    corpus, mlm, questions_file, run, tmp_path
):
    spans = tmp_path / "spans"
    run("spans", "--corpus", corpus, "--output", spans)
    probe = ("--probe", questions_file, "--probe-split", "test")
    facts = run(*mlm, "--spans", spans, *probe, "--json").json
    assert facts["index_age"] == 0.0
    assert set(facts) >= {
        "retrieval_utility",
        "null_mlm_loss",
        "recall_at_5",
    }
    assert (tmp_path / "realm.training" / "examples.md").exists()


def test_mlm_in_the_background(mlm, run, tmp_path):
    options = ("--masks", "random-tokens", "--refresh", "background")
    options = (*options, "--max-staleness-steps", 1, "--block-length", 40)
    options = (*options, "--separate-embedders", "--num-steps", 5)
    facts = run(*mlm, *options, "--json").json
    assert facts["step"] == 5
    log = (tmp_path / "realm.training" / "log.jsonl").read_text("utf-8")
    ages = [json.loads(line)["index_age"] for line in log.splitlines()]
    assert len(ages) == 5
    assert max(ages) <= 1.0  # the child has made four indexes or more
    qa = RealmQA.from_preset(tmp_path / "realm")
    assert qa.query_embedder is not qa.block_embedder


@pytest.mark.parametrize("option", [(), ("--gradient-checkpointing",)])
def test_mlm_passes_gradient_checkpointing_on(mlm, fail, monkeypatch, option):
    def stage(*args, gradient_checkpointing, **options):
        raise click.ClickException(f"checkpointed: {gradient_checkpointing}")

    monkeypatch.setattr(pretraining_stages, "pretrain_masked_words", stage)
    said = fail(*mlm, "--masks", "random-tokens", *option)
    assert f"checkpointed: {bool(option)}" in said


def test_mlm_learns_to_read_in_float16(mlm, run, ict, tmp_path):
    options = ("--masks", "random-tokens", "--passage-bytes", 80)
    options = (*options, "--dtype", "mixed_float16", "--own-block", "cut")
    facts = run(*mlm, *options, "--freeze-retriever", "--json").json
    assert facts["index_age"] == 1.0  # built once
    for name in ("query_embedder", "encoder"):
        trained = getattr(RealmQA.from_preset(tmp_path / "realm"), name)
        assert trained is not None
    before, after = (
        RealmQA.from_preset(path).embedder_fingerprint
        for path in (ict[0], tmp_path / "realm")
    )
    assert after == before


def test_mlm_learns_to_read_mentions(mlm, run, corpus, ict, tmp_path):
    spans = tmp_path / "spans"
    run("spans", "--corpus", corpus, "--output", spans)
    options = ("--masks", "recurring", "--candidates", "mentions")
    facts = run(*mlm, "--spans", spans, *options, "--json").json
    assert facts["null_probability"] < 1
    assert not (tmp_path / "realm.training" / "exchange").exists()
    before, after = (
        RealmQA.from_preset(path).embedder_fingerprint
        for path in (ict[0], tmp_path / "realm")
    )
    assert after == before


def test_mlm_refuses_what_does_not_go_together(fail, mlm, tmp_path):
    run = (*mlm, "--candidates", "mentions")
    assert "--masks recurring" in fail(*run, code=2)
    run = (*mlm, "--spans", tmp_path, "--passage-bytes", 9)
    assert "--masks random-tokens" in fail(*run, code=2)
    run = (*mlm, "--masks", "random-tokens", "--bucket", "gs://bucket/run")
    assert "--refresh external" in fail(*run, code=2)


def test_mlm_gives_up_waiting_for_an_index(fail, mlm):
    options = ("--masks", "random-tokens", "--refresh", "external")
    error = fail(*mlm, *options, "--timeout", 0.2)
    assert "wait for a newer index ended" in error


def test_stop_at_an_old_index_is_a_failure_that_can_go_on(
    fail, mlm, run, tmp_path
):
    command = [*mlm, "--masks", "random-tokens", "--num-steps", 4]
    stop = ("--refresh", "background", "--refresh-every", 3)
    stop += ("--max-staleness-steps", 1, "--on-stale", "stop")
    error = fail(*command, *stop)
    assert "stopped before its last step" in error
    assert not (tmp_path / "realm").exists()
    work = tmp_path / "realm.training"
    assert list((work / "checkpoints").iterdir())
    assert not (work / "exchange" / "done").exists()
    run(*command, "--refresh-every", 3)
    assert [line["step"] for line in read_log(work)] == [1, 2, 3, 4]


def test_run_shorter_than_a_line_of_the_log(ict, run, corpus, tmp_path):
    facts = run(
        *("pretrain", "ict", "--preset", ict[0], "--corpus", corpus),
        *("--output", tmp_path / "few", "--batch-size", 2),
        *("--num-steps", 2, "--json"),
    ).json
    assert facts["step"] == 2


def test_mlm_without_spans_says_how_to_get_them(fail, mlm, tmp_path):
    error = fail(*mlm, "--spans", tmp_path / "nothing", code=2)
    assert "realm-tf spans" in error


def test_wrong_use(corpus, fail, ict, mlm, tiny_bert, tmp_path):
    both = ("--bert", tiny_bert)
    assert "--bert or --preset" in fail(*mlm, *both, code=2)
    place = ("pretrain", "ict", "--corpus", corpus, "--bert", tiny_bert)
    error = fail(*place, "--output", ict[0], code=2)
    assert "--overwrite" in error
