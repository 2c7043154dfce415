import json
import shutil

import pytest
from beam_shards import RUNNER, contents

from realm_tf._files import writer_lock
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.options import ScannOptions
from realm_tf.realm_qa import RealmQA
from realm_tf.retrieval.index import block_index
from realm_tf.retrieval.index.block_index import BlockIndex

pytestmark = pytest.mark.usefixtures("kept_models")


@pytest.fixture(scope="session")
def built(preset, corpus, run, tmp_path_factory):
    """An index, for reading only."""
    path = tmp_path_factory.mktemp("index") / "index"
    command = ("index", "build", "--preset", preset, "--corpus", corpus)
    run(*command, "--output", path)
    return path


@pytest.fixture
def index(built, tmp_path):
    """A copy of the index, for changing."""
    return shutil.copytree(built, tmp_path / "index")


@pytest.fixture
def add(corpus, preset, run, tmp_path):
    def add_articles(index, *articles):
        file = tmp_path / "more.jsonl"
        file.write_text("".join(json.dumps(a) + "\n" for a in articles))
        options = ("--preset", preset, "--corpus", corpus, "--json")
        return run("index", "add", index, file, *options).json

    return add_articles


BATH = {"id": "bath", "title": "Bath", "text": "Bath is a city in England."}


def test_build_publishes_a_version_for_the_preset(
    built, corpus, preset, run, tmp_path
):
    opened = BlockIndex.open(built, Corpus.open(corpus))
    assert (opened.num_blocks, opened.embedding_dim) == (4, 4)
    command = ("index", "build", "--preset", preset, "--corpus", corpus)
    facts = run(*command, "-o", tmp_path / "again", "--json").json
    assert facts["fingerprint"] == opened.fingerprint
    assert facts["embedder"] == opened.embedder_fingerprint
    assert (facts["searcher"], facts["dtype"]) == ("brute_force", "float32")


def test_build_passes_options_on(corpus, fail, preset, run, tmp_path):
    command = ("index", "build", "--preset", preset, "--corpus", corpus)
    options = ("--storage", "bfloat16", "--dtype", "mixed_bfloat16", "--json")
    facts = run(*command, "-o", tmp_path / "small", *options).json
    assert facts["dtype"] == "bfloat16"
    output = tmp_path / "scann"
    # Four blocks are too few for it.
    message = fail(*command, "-o", output, "--searcher", "scann")
    assert "ScaNN" in message or "scann" in message


def test_build_passes_options_of_scann_on(
    corpus, fail, monkeypatch, preset, tmp_path
):
    def build_index(qa, source, path, *, scann, **options):
        raise ValueError(f"Received: {scann}")

    monkeypatch.setattr(RealmQA, "build_index", build_index)
    message = fail(
        *("index", "build", "--preset", preset, "--corpus", corpus),
        *("-o", tmp_path / "index", "--num-leaves", 7),
    )
    assert str(ScannOptions(num_leaves=7)) in " ".join(message.split())


def test_build_again_adds_a_version(corpus, index, preset, run):
    command = ("index", "build", "--preset", preset, "--corpus", corpus)
    assert run(*command, "-o", index, "--json").json["version"] == 2
    facts = run("index", "info", index, "--json").json
    assert (facts["version"], facts["versions"]) == (2, [1, 2])


def test_info_tells_what_the_newest_version_holds(built, run):
    facts = run("index", "info", built, "--json").json
    assert facts["num_blocks"] == 4
    assert facts["num_updates"] == 0
    assert "brute_force" in run("index", "info", built).stdout


def test_verify_finds_a_flipped_byte(corpus, fail, index, run):
    facts = run("index", "verify", index, "-c", corpus, "--json").json
    assert facts["valid"] is True and facts["versions"] == [1]
    file = next(index.glob("v000001/embeddings*"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert file.name in fail("index", "verify", index)


def test_verify_finds_another_corpus(built, fail, run, tiny_bert, tmp_path):
    source = tmp_path / "a.txt"
    source.write_text("Another text.")
    command = ("corpus", "build", source, "--tokenizer", tiny_bert)
    run(*command, "-o", tmp_path / "other")
    message = fail("index", "verify", built, "-c", tmp_path / "other")
    assert "<- differs" in message


def test_documents_come_and_go_and_are_folded_in(
    add, corpus, index, run, tiny_bert, tmp_path
):
    added = add(index, BATH, {"id": "emma", "text": "Emma is by Jane Austen."})
    # One is new; the other replaces what the corpus has.
    assert added == {"added_documents": 2, "num_blocks": 5}
    command = ("index", "delete", index, "london", "--corpus", corpus)
    assert run(*command, "--json").json["num_blocks"] == 4
    assert run("index", "info", index, "--json").json["num_updates"] == 2
    folded = tmp_path / "folded"
    command = ("index", "compact", index, "--corpus", corpus, "-o", folded)
    facts = run(*command, "--tokenizer", tiny_bert, "--json").json
    assert (facts["version"], facts["num_blocks"]) == (2, 4)
    ids = {block.document_id for block in Corpus.open(folded)}
    assert ids == {"thames", "1815", "bath", "emma"}
    run("index", "verify", index, "-c", folded)


def test_delete_names_an_unknown_document(corpus, fail, index):
    command = ("index", "delete", index, "london", "oxford")
    message = fail(*command, "--corpus", corpus)
    assert "oxford" in message
    opened = BlockIndex.open(index, Corpus.open(corpus))
    assert opened.num_blocks == 4  # nothing was deleted


def test_compact_needs_the_tokenizer_of_the_corpus(
    add, corpus, fail, index, tmp_path
):
    add(index, BATH)
    folded = tmp_path / "folded"
    command = ("index", "compact", index, "--corpus", corpus, "-o", folded)
    assert "tokenizer" in fail(*command)
    assert not folded.exists()


def test_compact_of_an_index_that_is_served_says_what_to_do(
    add, corpus, fail, index, monkeypatch, tiny_bert, tmp_path
):
    monkeypatch.setattr(block_index, "_UPDATE_TIMEOUT_SECONDS", 0.1)
    command = ("index", "compact", index, "--corpus", corpus)
    with writer_lock(index):
        options = ("--tokenizer", tiny_bert, "-o", tmp_path / "folded")
        message = fail(*command, *options)
    assert "is being written by process" in message
    assert "RealmClient.compact_index" in message


def test_rollback_brings_a_version_back(add, index, run):
    add(index, BATH)
    facts = run("index", "rollback", index, 1, "--json").json
    assert (facts["version"], facts["same_as"]) == (2, 1)
    assert run("index", "info", index, "--json").json["num_updates"] == 1


def test_rollback_lists_the_versions_there_are(fail, index):
    assert "versions=[1]" in fail("index", "rollback", index, 7)


@pytest.mark.parametrize("command", ["info", "verify"])
def test_commands_refuse_another_folder(command, fail, tmp_path):
    assert "versions=[]" in fail("index", command, tmp_path)


def test_add_skips_bad_records_if_told(corpus, fail, index, preset, run):
    file = index.parent / "bad.jsonl"
    file.write_text('{"id": "a", "text": 7}\n' + json.dumps(BATH) + "\n")
    command = ("index", "add", index, file, "--preset", preset)
    command = (*command, "--corpus", corpus, "--json")
    assert "bad.jsonl, line 1" in fail(*command)
    facts = run(*command, "--skip-bad", "--format", "jsonl").json
    assert facts["added_documents"] == 1


def test_runner_of_beam_builds_the_same_index(corpus, preset, run, tmp_path):
    args = ("index", "build", "--preset", preset, "--corpus", corpus)
    run(*args, "-o", tmp_path / "one")
    run(*args, "-o", tmp_path / "beam", "--runner", RUNNER)
    assert contents(tmp_path / "beam") == contents(tmp_path / "one")
