import pytest

from realm_tf import _files
from realm_tf.retrieval.index import index_plan

pytestmark = pytest.mark.usefixtures("kept_models")


@pytest.fixture(autouse=True)
def short_sample(monkeypatch):
    monkeypatch.setattr("realm_tf.cli.plan._SECONDS", 0.0)


def test_the_plan_of_a_corpus_is_what_the_index_takes(
    corpus, preset, run, tmp_path
):
    options = ("--preset", preset, "--corpus", corpus, "--json")
    facts = run("plan", *options).json
    built = run("index", "build", *options, "-o", tmp_path / "index").json
    for name in ("num_blocks", "embedding_dim", "searcher"):
        assert facts[name] == built[name]
    assert facts["embedding_bytes"] == 4 * 4 * 4
    assert facts["embedding_hours"] > 0
    assert facts["lexical_hours"] > 0
    assert (facts["fits"], facts["problem"]) == (True, None)


def test_a_plan_needs_no_corpus(preset, run):
    options = ("--blocks", 13_353_718, "--storage", "bfloat16")
    facts = run(
        *("plan", "--preset", preset, *options),
        *("--searcher", "scann", "--analyzer", "none", "--json"),
    ).json
    assert facts["embedding_bytes"] == 13_353_718 * 4 * 2
    assert facts["lexical_bytes"] == 0
    assert "lexical_hours" not in facts
    more = run("plan", "--preset", preset, "--blocks", 10**12).stdout
    assert "fits" in more
    assert "needs" in more


@pytest.mark.parametrize("given", [(), ("--blocks", 5, "--corpus")])
def test_either_a_corpus_or_a_number_is_needed(corpus, fail, given, preset):
    given = (*given, corpus) if given else ()
    message = fail("plan", "--preset", preset, *given, code=2)
    assert "either --corpus or --blocks" in message


def test_no_blocks_are_refused(fail, preset):
    message = fail("plan", "--preset", preset, "--blocks", 0, code=2)
    assert "--blocks" in message


def test_a_build_that_does_not_fit_is_refused_unless_forced(
    corpus, fail, monkeypatch, preset, run, tmp_path
):
    monkeypatch.setattr(index_plan, "free_bytes", lambda path: 10)
    output = tmp_path / "index"
    command = ("index", "build", "--preset", preset, "--corpus", corpus)
    message = fail(*command, "-o", output)
    assert "GB of free disk" in message
    assert "`--force`" in message
    assert run(*command, "-o", output, "--force", "--json").json["num_blocks"]


def test_a_corpus_that_does_not_fit_is_refused_unless_forced(
    articles_file, fail, monkeypatch, run, tmp_path
):
    monkeypatch.setattr(_files, "free_bytes", lambda path: 10)
    command = ("corpus", "build", articles_file, "-o", tmp_path / "corpus")
    assert "It needs" in fail(*command)
    assert run(*command, "--force", "--json").json["num_documents"] == 4
