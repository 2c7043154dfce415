import base64
import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf
from answers_alike import assert_outputs_alike

from realm_tf import _manifest
from realm_tf._files import writer_lock
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.errors import FolderError, LockedError, MismatchError
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.serving import bundle as bundles
from realm_tf.serving.bundle import (
    BLOCK_EMBEDDER,
    QA,
    QUERY_EMBEDDER,
    READER,
    model_numbers,
    read_bundle,
)
from realm_tf.serving.export import saved_model

EXACT = ("text", "block_position", "byte_start", "byte_end", "block_id")
CLOSE = ("probability", "retrieval_probability", "reading_probability")


def decode(values):
    if isinstance(values, list):
        return [decode(value) for value in values]
    return base64.b64decode(values).decode()


def assert_answers(reply, answers):
    """The answers of a served model are those of `RealmQA.predict`."""
    texts = decode(reply["text"])
    for i, answer in enumerate(answers):
        spans = [answer, *answer.alternatives]
        padding = [""] * (len(texts[i]) - len(spans))
        assert texts[i] == [span.text for span in spans] + padding
        for j, span in enumerate(spans):
            place = reply["block_position"][i][j]
            assert answer.blocks[place] == span.block
            assert reply["byte_start"][i][j] == span.byte_start
            assert reply["byte_end"][i][j] == span.byte_end
            for name in CLOSE:
                got = reply[name][i][j]
                assert got == pytest.approx(getattr(span, name), abs=1e-5)


def reader_inputs(answers, logits):
    return {
        "question": [answer.question for answer in answers],
        "block_titles": [[b.title for b in a.blocks] for a in answers],
        "block_texts": [[b.text for b in a.blocks] for a in answers],
        "retrieval_scores": np.asarray(logits).tolist(),
    }


def test_fresh_process_answers_as_the_model_does(
    exported, fresh, qa, questions
):
    answers = qa.predict(questions)
    found = qa.search(questions, qa.num_read)
    path = {name: str(exported.model_path(name)) for name in exported.models}
    asked = {"question": questions}
    blocks = answers[0].blocks
    texts = {
        "title": [block.title for block in blocks],
        "text": [block.text for block in blocks],
    }
    query, embedded, truncated, block, read, alone = fresh(
        [path[QUERY_EMBEDDER], "serving_default", asked],
        [path[QUERY_EMBEDDER], "embed", asked],
        [path[QUERY_EMBEDDER], "embed", {"question": ["who " * 15]}],
        [path[BLOCK_EMBEDDER], "embed", texts],
        [path[READER], "serving_default", reader_inputs(answers, found.scores)],
        [path[QA], "serving_default", asked],
    )
    want = qa.question_embedding.questions(questions)
    np.testing.assert_allclose(query["embedding"], want, atol=1e-6)
    assert query["embedding"] == embedded["embedding"]
    assert set(decode(embedded["fingerprint"])) == {qa.embedder_fingerprint}
    assert embedded["truncated"] == [a.truncated for a in answers]
    assert embedded["truncated"][-1] and truncated["truncated"] == [True]
    want = qa.block_embedding.blocks(list(blocks))
    np.testing.assert_allclose(block["embedding"], want, atol=1e-6)
    assert decode(block["fingerprint"]) == [qa.embedder_fingerprint] * 5
    for reply in (read, alone):
        assert_answers(reply, answers)
        assert set(decode(reply["fingerprint"])) == {qa.reader_fingerprint}
    best = [answer.block for answer in answers]
    assert [ids[0] for ids in alone["block_id"]] == [b.block_id for b in best]
    assert [t[0] for t in decode(alone["block_title"])] == [
        b.title for b in best
    ]
    assert [t[0] for t in decode(alone["block_text"])] == [b.text for b in best]


def test_answers_are_the_same_one_by_one(exported, fresh, qa, questions):
    answers = qa.predict(questions)
    scores = qa.search(questions, qa.num_read).scores
    for name, inputs in (
        (QUERY_EMBEDDER, {"question": questions}),
        (BLOCK_EMBEDDER, {"title": questions, "text": questions[::-1]}),
        (READER, reader_inputs(answers, scores)),
        (QA, {"question": questions}),
    ):
        path = str(exported.model_path(name))
        singles = [
            {key: value[i : i + 1] for key, value in inputs.items()}
            for i in range(len(questions))
        ]
        together, *alone = fresh(
            *([path, "serving_default", i] for i in (inputs, *singles))
        )
        joined = {key: [reply[key][0] for reply in alone] for key in together}
        assert_outputs_alike(joined, together)


def test_wrong_shapes_are_errors_and_no_crash(exported, fresh):
    path = {name: str(exported.model_path(name)) for name in exported.models}
    one, row = "who?", [["who?"]]
    read = dict.fromkeys(["block_titles", "block_texts"], [["a", "b"]])
    bad = [
        (QUERY_EMBEDDER, "serving_default", {"question": one}),
        (QUERY_EMBEDDER, "embed", {"question": one}),
        (QUERY_EMBEDDER, "serving_default", {"question": row}),
        (BLOCK_EMBEDDER, "serving_default", {"title": one, "text": one}),
        (BLOCK_EMBEDDER, "embed", {"title": row, "text": row}),
        (BLOCK_EMBEDDER, "embed", {"title": ["a", "b"], "text": ["a"]}),
        (QA, "serving_default", {"question": one}),
        (QA, "serving_default", {"question": row}),
        *(
            (READER, "serving_default", {**read, **changes})
            for changes in (
                {"question": one, "retrieval_scores": [[1, 2]]},
                {"question": row, "retrieval_scores": [[1, 2]]},
                {"question": ["a", "b"], "retrieval_scores": [[1, 2]]},
                {"question": ["a"], "retrieval_scores": [[1]]},
                {"question": ["a"], "retrieval_scores": [1, 2]},
                {
                    "question": ["a"],
                    "retrieval_scores": [[1, 2]],
                    "block_texts": ["a", "b"],
                },
            )
        ),
    ]
    replies = fresh(*([path[n], signature, i] for n, signature, i in bad))
    assert [r.get("error") for r in replies] == ["InvalidArgumentError"] * len(
        bad
    )


def test_missing_blocks_and_empty_batches(exported, fresh, qa, questions):
    path = str(exported.model_path(READER))
    (answer,) = qa.predict(questions[:1])
    scores = qa.search(questions[:1], qa.num_read).scores
    inputs = reader_inputs([answer], scores)
    missing = float("-inf")
    padded = {
        "question": questions[:1],
        "block_titles": [["", *inputs["block_titles"][0], ""]],
        "block_texts": [["", *inputs["block_texts"][0], ""]],
        "retrieval_scores": [
            [missing, *inputs["retrieval_scores"][0], missing]
        ],
    }
    wide = padded | {
        "retrieval_scores": [[-3e38, *inputs["retrieval_scores"][0], -3e38]]
    }
    nothing = {
        "question": ["who?"],
        "block_titles": [["", ""]],
        "block_texts": [["", ""]],
        "retrieval_scores": [[missing, float("nan")]],
    }
    of_spaces = nothing | {"retrieval_scores": [[1.0, 2.0]]}
    plain, padded, wide, nothing, of_spaces = fresh(
        *(
            [path, "serving_default", i]
            for i in (inputs, padded, wide, nothing, of_spaces)
        )
    )
    for name, values in plain.items():
        if name == "block_position":
            values = (np.asarray(values) + 1).tolist()
        assert padded[name] == wide[name] == values
    for reply in (nothing, of_spaces):
        assert decode(reply["text"]) == [[""] * 5]
        assert reply["block_position"] == [[-1] * 5]
        assert reply["probability"] == [[0.0] * 5]


def test_bundle_opens_as_corpus_and_index(exported, qa, questions):
    assert read_bundle(exported.path) == exported
    corpus = Corpus.open(exported.corpus_path)
    index = BlockIndex.open(
        exported.index_path,
        corpus,
        embedder_fingerprint=exported.embedder_fingerprint,
    )
    queries = qa.question_embedding.questions(questions)
    want = qa.index.search(queries, 3)
    np.testing.assert_array_equal(index.search(queries, 3).scores, want.scores)

    featurizer = exported.open_featurizer()
    assert featurizer.fingerprint == exported.tokenizer_fingerprint
    for name in exported.models:
        manifest = _manifest.read_manifest(
            exported.model_path(name), "saved_model"
        )
        assert manifest.fingerprints["reader"] == qa.reader_fingerprint


def test_export_again_adds_versions_and_keeps_added_documents(
    make_qa, cities, tmp_path
):
    qa = make_qa()
    qa.build_index(cities[:3], tmp_path / "index")
    folder = tmp_path / "out"
    first = qa.export(folder, models=("query_embedder", "block_embedder"))
    corpus = Corpus.open(first.corpus_path)
    served = BlockIndex.open(first.index_path, corpus)
    served.add(served.blocks([0]), [[1.0, 2.0, 3.0, 4.0]])
    second = qa.export(folder, models=("query_embedder",))
    assert second.models == {QUERY_EMBEDDER: 2, BLOCK_EMBEDDER: 1}
    assert model_numbers(folder, QUERY_EMBEDDER) == [1, 2]
    index = BlockIndex.open(second.index_path, corpus)
    assert index.version == 1
    assert index.live_block_ids().tolist() == [1, 2, 3]
    other = make_qa(seed=1)
    other.build_index(cities[:2], tmp_path / "other")
    with pytest.raises(MismatchError, match="exported from one model"):
        other.export(folder, models=("query_embedder",))
    assert model_numbers(folder, QUERY_EMBEDDER) == [1, 2]
    bundle = other.export(folder, models=("query_embedder", "block_embedder"))
    assert bundle.models == {QUERY_EMBEDDER: 3, BLOCK_EMBEDDER: 2}
    assert (bundle.corpus, bundle.index) == ("corpus-2", "index")
    index = BlockIndex.open(
        bundle.index_path,
        Corpus.open(bundle.corpus_path),
        embedder_fingerprint=other.embedder_fingerprint,
    )
    assert (index.version, index.num_blocks) == (2, 2)


def test_export_that_would_lose_documents_writes_nothing(
    make_qa, cities, tmp_path
):
    qa = make_qa()
    qa.build_index(cities, tmp_path / "index")
    bundle = qa.export(tmp_path / "out", models=["query_embedder"])
    copy = BlockIndex.open(
        bundle.path / "index", Corpus.open(bundle.path / "corpus")
    )
    copy.delete([cities[0].document_id])
    qa.delete_documents([cities[1].document_id])
    with pytest.raises(FolderError, match="realm-tf index compact"):
        qa.export(tmp_path / "out", models=["query_embedder"])
    assert model_numbers(bundle.path, QUERY_EMBEDDER) == [1]


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_model_in_half_precision_can_be_exported(make_qa, tmp_path, dtype):
    qa = make_qa(dtype=dtype)
    bundle = qa.export(tmp_path / "out", models=["query_embedder"])
    model = tf.saved_model.load(str(bundle.model_path(QUERY_EMBEDDER)))
    question = tf.constant(["where is Rome?"])
    (got,) = model.signatures["serving_default"](question=question).values()
    want = qa.question_embedding.questions(["where is Rome?"])
    np.testing.assert_allclose(got, want, atol=1e-2)


def test_export_refuses_an_index_of_another_model(make_qa, cities, tmp_path):
    qa, other = make_qa(), make_qa(seed=1)
    corpus = qa.build_index(cities, tmp_path / "index").corpus
    with pytest.warns(UserWarning):
        other.open_index(tmp_path / "index", corpus, allow_mismatch=True)
    with pytest.raises(MismatchError, match="must be the model's own"):
        other.export(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_export_refuses_an_index_without_the_words_that_count(
    make_qa, cities, tmp_path
):
    qa = make_qa()
    qa.lexical_weight = 0.5
    qa.build_index(cities, tmp_path / "index", analyzer=None)
    with pytest.raises(MismatchError, match="must have a lexical part"):
        qa.export(tmp_path / "out")
    qa.build_index(qa.index.corpus, tmp_path / "index")
    bundle = qa.export(tmp_path / "out", models=("reader",))
    assert read_bundle(bundle.path).lexical_weight == 0.5


def test_export_without_an_index_has_models_only(make_qa, tmp_path):
    qa = make_qa()
    with pytest.raises(ValueError, match="must have an index"):
        qa.export(tmp_path / "out", models=("qa",))
    bundle = qa.export(tmp_path / "out", models=("reader",), num_answers=2)
    assert (bundle.corpus, bundle.index, bundle.num_answers) == (None, None, 2)
    model = tf.saved_model.load(str(bundle.model_path(READER)))
    outputs = model.signatures["serving_default"].structured_outputs
    assert outputs["text"].shape.as_list()[1] == 2


def test_export_refuses_an_unfitted_projection(make_qa, tmp_path):
    qa = make_qa()
    qa.projection_fitted = False
    with pytest.raises(ValueError, match="projection must be fitted"):
        qa.export(tmp_path / "out")


def test_export_refuses_another_folder_and_a_second_writer(qa, tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(FolderError, match=r"holds thesis\.txt"):
        qa.export(tmp_path)
    with writer_lock(tmp_path / "out"):
        with pytest.raises(LockedError, match="one writer at a time"):
            qa.export(tmp_path / "out")


def test_models_and_index_are_published_together(
    make_qa, cities, tmp_path, monkeypatch
):
    """A server must not take up the first while the last is traced."""
    qa = make_qa()
    qa.build_index(cities[:2], tmp_path / "index")
    folder = tmp_path / "out"
    models = (QUERY_EMBEDDER, BLOCK_EMBEDDER)
    check = saved_model.check_saved_model

    def check_and_look(path, **options):
        found = [bundles.model_numbers(folder, name) for name in models]
        assert (found, (folder / "index").exists()) == ([[], []], False)
        if path.parent.name == models[-1] and not seen:
            seen.append(path)
            raise OSError("the disk is full")
        return check(path, **options)

    seen = []
    monkeypatch.setattr(saved_model, "check_saved_model", check_and_look)
    with pytest.raises(OSError, match="disk is full"):
        qa.export(folder, models=models)
    assert not list(folder.glob("*/1")) and not list(folder.glob("*/v*"))
    assert set(qa.export(folder, models=models).models.values()) == {1}


KILLED = """
import os, signal, sys
import realm_tf.serving.export.{module} as module
def kill(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
module.{name} = kill
from realm_tf import RealmQA
RealmQA.from_preset(sys.argv[1]).export(sys.argv[2], models=("query_embedder",))
"""


def test_killed_export_leaves_the_bundle_as_it_was(make_qa, tmp_path):
    qa = make_qa()
    qa.save_to_preset(tmp_path / "preset")
    folder = tmp_path / "out"
    before = qa.export(folder, models=("query_embedder",))
    for module, name, whole in (
        ("saved_model", "check_saved_model", [1]),
        ("warmup", "write_warmup", [1]),
        # A version that is there is whole, whether bundle.json names it yet.
        ("exporter", "_write_side", [1]),
        ("exporter", "write_server_configs", [1, 2]),
    ):
        code = textwrap.dedent(KILLED.format(module=module, name=name))
        arguments = [str(tmp_path / "preset"), str(folder)]
        root = pathlib.Path(bundles.__file__).parents[2]
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, "PYTHONPATH": str(root)},
            capture_output=True,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr[-1000:]
        assert read_bundle(folder) == before
        assert model_numbers(folder, QUERY_EMBEDDER) == whole
    after = qa.export(folder, models=("query_embedder",))
    assert after.models == {QUERY_EMBEDDER: 3}
    assert not list(folder.glob("**/.*writing*"))
