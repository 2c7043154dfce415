import importlib.util
import pathlib
import shutil

import numpy as np
import pytest

from realm_tf.cli.import_checkpoint import import_checkpoint
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.realm_qa import RealmQA

_PATH = pathlib.Path(__file__).parents[1] / "fixtures/miniature_release.py"


@pytest.fixture(scope="session")
def release():
    spec = importlib.util.spec_from_file_location("miniature_release", _PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def embeddings(release):
    """Rows as the released matrix has them: one for each block."""
    rng = np.random.default_rng(7)
    return rng.normal(size=(len(release.BLOCKS), 6)).astype(np.float32)


def test_an_openqa_release_answers_from_its_own_index(
    release, embeddings, tmp_path, run
):
    source = release.write_hugging_face(
        tmp_path / "openqa", "openqa", "zip", embeddings
    )
    release.write_block_records(source / "block_records.npy")
    preset, corpus = tmp_path / "preset", tmp_path / "corpus"
    facts = run(
        "import", source, "-o", preset, "--corpus-output", corpus, "--json"
    ).json
    assert facts["format"] == "RealmForOpenQA"
    assert facts["parts"] == ["query_embedder", "reader"]
    assert facts["num_blocks"] == len(release.BLOCKS)
    assert facts["skipped"]["block_emb"].startswith("embeddings of the corpus")
    opened = Corpus.open(corpus)
    assert [b.text for b in opened] == [text for _, text in release.BLOCKS]
    qa = RealmQA.from_preset(preset)
    index = qa.open_index(facts["index"], opened)
    np.testing.assert_array_equal(
        index.embeddings(np.arange(len(embeddings))), embeddings
    )
    answer = run(
        "ask", "--preset", preset, "--corpus", corpus, "--json", "Who sang?"
    ).json
    assert answer
    assert "RealmForOpenQA" in (preset / "README.md").read_text()


def test_d14_partial_takes_what_is_there(release, tmp_path, run, fail):
    variables = release.tf1_variables("bert")
    variables["extra"] = np.zeros(2, np.float32)
    release.save_checkpoint(tmp_path / "model.ckpt-1", variables)
    arguments = ["import", tmp_path / "model.ckpt-1", "-o", tmp_path / "out"]
    arguments += ["--num-heads", "4", "--vocabulary", release.VOCABULARY]
    assert "Left over: extra" in fail(*arguments)
    facts = run(*arguments, "--partial", "--json").json
    assert facts["skipped"] == {"extra": "left over"}


def test_two_embedders_need_one_for_blocks(release, tmp_path, fail):
    names = ("first", "second")
    sources = [release.write_tf1(tmp_path / n, "embedder") for n in names]
    heads = ("--num-heads", "4")
    message = fail("import", *sources, "-o", tmp_path / "out", *heads)
    assert "a second query_embedder in" in message
    assert "`--block-embedder`" in message


def test_another_folder_is_told_with_the_command_for_it(tmp_path, fail):
    (tmp_path / "corpus.jsonl").touch()
    message = fail("import", tmp_path, "-o", tmp_path / "out")
    assert "a folder with corpus.jsonl. Documents go to" in message


def test_a_tf1_release_is_put_together_from_its_parts(
    release, embeddings, tmp_path, run
):
    embedder = release.write_tf1(
        tmp_path / "embedder", "embedder", embeddings=embeddings
    )
    orqa = release.write_tf1(tmp_path / "orqa", "orqa")
    records = release.write_records(tmp_path / "enwiki")
    preset, corpus = tmp_path / "preset", tmp_path / "corpus"
    facts = run(
        "import",
        orqa,
        "-o",
        preset,
        "--block-embedder",
        embedder,
        "--records",
        records,
        "--corpus-output",
        corpus,
        "--num-heads",
        4,
        "--json",
    ).json
    assert facts["parts"] == ["query_embedder", "block_embedder", "reader"]
    assert facts["num_documents"] == len(release.CITIES)
    qa = RealmQA.from_preset(preset)
    qa.open_index(facts["index"], Corpus.open(corpus))
    features = release.features()
    for layer, part in (
        (qa.block_embedder, release.EMBEDDER),
        (qa.query_embedder, release.QUERY_EMBEDDER),
    ):
        np.testing.assert_allclose(
            layer(features), release.run_embedder(part, features), atol=1e-5
        )


def test_embedder_and_encoder_make_a_model_to_fine_tune(release, tmp_path, run):
    sources = [
        release.write_tf1(tmp_path / name, name)
        for name in ("embedder", "bert")
    ]
    preset = tmp_path / "preset"
    facts = run(
        "import", *sources, "-o", preset, "--num-heads", 4, "--json"
    ).json
    assert facts["parts"] == ["query_embedder", "reader", "encoder"]
    assert "reader/score_dense/kernel" in facts["initial"]
    qa = RealmQA.from_preset(preset)
    features = release.features()
    np.testing.assert_allclose(
        qa.reader.backbone(features)["sequence_output"],
        release.run_trunk(release.ENCODER, features),
        atol=1e-5,
    )


def test_the_table_for_people_names_reasons_once(release, tmp_path, run):
    source = release.write_hugging_face(tmp_path / "x", "reader")
    shown = run("import", source, "-o", tmp_path / "preset").stdout
    assert shown.count("a masked-LM head that this part does not use") == 1


def test_a_preset_without_a_reader_says_what_it_lacks(
    release, tmp_path, run, fail
):
    source = release.write_hugging_face(tmp_path / "x", "encoder")
    run("import", source, "-o", tmp_path / "preset")
    with pytest.raises(ValueError, match="with encoder, without query_embed"):
        RealmQA.from_preset(tmp_path / "preset")
    again = fail("import", source, "-o", tmp_path / "preset", code=2)
    assert "exists. Add --overwrite to replace it" in again
    run("import", source, "-o", tmp_path / "preset", "--overwrite")


def test_another_number_of_blocks_is_refused(
    release, embeddings, tmp_path, fail
):
    source = release.write_hugging_face(
        tmp_path / "openqa", "openqa", embeddings=embeddings[1:]
    )
    release.write_block_records(source / "block_records.npy")
    corpus = tmp_path / "corpus"
    message = fail(
        "import", source, "-o", tmp_path / "preset", "--corpus-output", corpus
    )
    assert "12 blocks in" in message and "11 embeddings" in message
    assert not corpus.exists() and not (tmp_path / "preset").exists()


def test_a_row_that_is_not_finite_is_refused_and_nothing_is_left(
    release, embeddings, tmp_path, run, fail
):
    whole = embeddings.copy()
    embeddings[3, 2] = np.nan
    module = release.write_tf1(
        tmp_path / "embedder", "embedder", embeddings=embeddings
    )
    records = release.write_records(tmp_path / "enwiki")
    command = (
        *("import", module, "-o", tmp_path / "preset", "--num-heads", 4),
        *("--records", records, "--corpus-output", tmp_path / "corpus"),
        *("--embeddings", module / "encoded/encoded.ckpt"),
    )
    assert "[3]" in fail(*command)
    # Nothing is left of it, and the command can be repeated.
    assert {p.name for p in tmp_path.iterdir()} == {"embedder", "enwiki"}
    shutil.rmtree(module)
    release.write_tf1(module, "embedder", embeddings=whole)
    run(*command)
    assert list((tmp_path / "preset" / "indexes").iterdir())


def test_embeddings_need_their_embedder(release, embeddings, tmp_path, fail):
    source = release.write_hugging_face(tmp_path / "x", "reader")
    release.save_checkpoint(
        tmp_path / "encoded.ckpt", {"block_emb": embeddings}
    )
    message = fail(
        "import",
        source,
        "-o",
        tmp_path / "preset",
        "--embeddings",
        tmp_path / "encoded.ckpt",
        "--records",
        release.write_records(tmp_path / "enwiki"),
        "--corpus-output",
        tmp_path / "corpus",
        code=2,
    )
    assert "Embeddings need the embedder" in message


def test_a_corpus_needs_records(release, tmp_path, fail):
    source = release.write_hugging_face(tmp_path / "x", "reader")
    message = fail(
        "import",
        source,
        "-o",
        tmp_path / "preset",
        "--corpus-output",
        tmp_path / "corpus",
        code=2,
    )
    assert "--records must be given" in message


def test_something_else_is_refused(tmp_path, fail):
    message = fail("import", tmp_path, "-o", tmp_path / "preset")
    assert "must be a checkpoint in a published layout" in message


def test_the_command_is_called_import():
    assert import_checkpoint.name == "import"
