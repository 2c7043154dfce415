import gzip
import json
import sys

import pytest
from beam_shards import RUNNER, contents

from realm_tf.cli.corpus import _FORMATS
from realm_tf.data.corpus import corpus_builder, corpus_workers
from realm_tf.data.corpus.article_formats import FORMATS
from realm_tf.data.corpus.corpus import Corpus


def test_every_format_can_be_named():
    assert set(_FORMATS) == {"auto", *FORMATS}


def test_build_needs_no_option_but_output(articles_file, run, tmp_path):
    result = run("corpus", "build", articles_file, "--output", tmp_path / "c")
    assert "1.0" not in result.stderr  # no progress where nobody watches
    built = Corpus.open(tmp_path / "c")
    assert built.num_blocks == 4
    assert built[0].text.startswith("Emma is a novel")


def test_build_reports_json(articles_file, run, tiny_bert, tmp_path):
    path = tmp_path / "c"
    options = ("--tokenizer", tiny_bert, "--json")
    facts = run("corpus", "build", articles_file, "-o", path, *options).json
    assert (facts["num_blocks"], facts["num_documents"]) == (4, 4)
    assert facts["path"] == str(path)
    assert facts["fingerprint"] == Corpus.open(path).fingerprint


def test_build_reads_several_compressed_files(articles_file, run, tmp_path):
    other = tmp_path / "more.jsonl.gz"
    with gzip.open(other, "wt") as file:
        file.write('{"id": "bath", "title": "Bath", "text": "A town."}\n')
    path = tmp_path / "c"
    run("corpus", "build", articles_file, other, "-o", path)
    assert Corpus.open(path).num_blocks == 5


def test_build_passes_options_on(run, tmp_path):
    (tmp_path / "a.data").write_text("One two three. Four five six.")
    plain = ("corpus", "build", tmp_path / "a.data", "--format", "text")
    run(*plain, "-o", tmp_path / "whole")
    run(*plain, "-o", tmp_path / "cut", "--max-wordpieces", 8)
    assert Corpus.open(tmp_path / "whole").num_blocks == 1
    assert Corpus.open(tmp_path / "cut").num_blocks == 2


def test_build_keeps_navigation_pages_only_if_told(run, tmp_path):
    record = {"id": "1", "title": "List of rivers", "text": "Thames, Avon."}
    source = tmp_path / "a.jsonl"
    source.write_text(
        json.dumps(record) + "\n" + json.dumps({"text": "Emma."}) + "\n"
    )
    plain = ("corpus", "build", source, "--json", "-o")
    assert run(*plain, tmp_path / "kept").json["num_blocks"] == 2
    left_out = run(*plain, tmp_path / "c", "--skip-navigation").json
    assert left_out["num_blocks"] == 1


def test_build_names_the_line_of_a_bad_record(fail, run, tmp_path):
    source = tmp_path / "bad.jsonl"
    source.write_text('{"text": "Emma."}\n{"text": 7}\n')
    command = ("corpus", "build", source, "-o", tmp_path / "c")
    assert "bad.jsonl, line 2" in fail(*command)
    assert not (tmp_path / "c").exists()
    facts = run(*command, "--skip-bad", "--json").json
    assert (facts["num_blocks"], facts["num_bad_records"]) == (1, 1)


def test_build_counts_templates_by_name(run, tmp_path):
    text = "It is {{nowrap|10 km}} {{cn}} or {{cn}} {{x}} long."
    (tmp_path / "dump.xml").write_text(
        "<mediawiki><page><title>Emma</title><id>1</id><revision><text>"
        f"{text}</text></revision></page></mediawiki>"
    )
    command = ("corpus", "build", tmp_path / "dump.xml", "--json", "-o")
    facts = run(*command, tmp_path / "c").json
    assert facts["templates_kept"] == {"nowrap": 1}
    assert list(facts["templates_left_out"].items()) == [("cn", 2), ("x", 1)]


def test_build_never_replaces_a_folder(articles_file, corpus, fail):
    message = fail("corpus", "build", articles_file, "-o", corpus)
    assert "at a path that does not exist yet" in message


def test_build_uses_as_many_processes_as_told(
    articles_file, monkeypatch, run, tmp_path
):
    given = []

    def write_parts(tasks, featurizer, max_wordpieces, num_processes):
        given.append(num_processes)
        return corpus_workers.write_parts(tasks, featurizer, max_wordpieces, 1)

    monkeypatch.setattr(corpus_builder, "write_parts", write_parts)
    command = ("corpus", "build", articles_file, "-o")
    run(*command, tmp_path / "c")
    run(*command, tmp_path / "d", "--processes", 2)
    assert given == [1, 2]


def test_info_shows_counts_for_people_and_programs(corpus, run):
    facts = run("corpus", "info", corpus, "--json").json
    assert facts["num_blocks"] == 4
    assert facts["max_wordpieces"] == 288
    assert facts["bytes"] > 1000
    text = run("corpus", "info", corpus).stdout
    assert "max wordpieces" in text and "288" in text


def test_verify_finds_a_flipped_byte(articles_file, fail, run, tmp_path):
    path = tmp_path / "c"
    run("corpus", "build", articles_file, "-o", path)
    verified = run("corpus", "verify", path, "--json").json
    assert verified["valid"] is True
    file = path / "token_ids.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert "token_ids.npy" in fail("corpus", "verify", path)
    run("corpus", "info", path)  # looks at sizes only


@pytest.mark.parametrize("command", ["info", "verify"])
def test_commands_refuse_another_folder(command, fail, tmp_path):
    message = fail("corpus", command, tmp_path)
    assert "The corpus must be a folder with a manifest.json" in message


def test_build_without_sources_is_wrong_use(fail, tmp_path):
    message = fail("corpus", "build", "-o", tmp_path / "c", code=2)
    assert "Missing argument 'SOURCES...'" in message


def test_runner_of_beam_builds_the_same_corpus(
    articles_file, run, tiny_bert, tmp_path
):
    args = ("corpus", "build", articles_file, "--tokenizer", tiny_bert)
    one = run(*args, "--json", "-o", tmp_path / "one").json
    beam = run(
        *(*args, "--json", "-o", tmp_path / "beam", "--runner", RUNNER),
        *("--beam-option", "direct_num_workers=1"),
    ).json
    own = {"path", "seconds"}
    assert [beam[name] for name in beam if name not in own] == [
        one[name] for name in one if name not in own
    ]
    assert contents(tmp_path / "beam") == contents(tmp_path / "one")


def test_beam_failure_is_one_line(articles_file, fail, tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{}\n")
    args = ("corpus", "build", bad, "-o", tmp_path / "c", "--runner", RUNNER)
    error = fail(*args).splitlines()[-1]
    assert error.startswith(f"Error: The pipeline failed on {RUNNER}. ")
    assert "bad.jsonl, line 1. Correct it, or add `--skip-bad`" in error
    error = fail(*args, "--beam-option", "frob=1")
    assert "(unknown: --frob=1)" in error


@pytest.mark.parametrize(
    "args, problem",
    [
        (("--beam-option", "job_name=a"), "must come with --runner"),
        (("--runner", RUNNER, "--processes", 2), "direct_num_workers=2"),
    ],
)
def test_options_of_the_other_way_are_refused(
    args, problem, articles_file, fail, tmp_path
):
    path = tmp_path / "c"
    error = fail("corpus", "build", articles_file, "-o", path, *args, code=2)
    assert problem in error


def test_runner_without_beam_says_what_to_install(
    articles_file, fail, monkeypatch, tmp_path
):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    for name in ("corpus_pipeline", "pipeline_run", "shared_work"):
        module = f"realm_tf.pipelines.{name}"
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.delattr("realm_tf.pipelines.BuildCorpus", raising=False)
    error = fail(
        *("corpus", "build", articles_file, "-o", tmp_path / "c"),
        *("--runner", RUNNER),
        code=2,
    )
    assert "needs Apache Beam" in error
    assert "Install it with `pip install 'realm-tf[beam]'`" in error
