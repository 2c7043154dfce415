import numpy as np
import pytest
import tensorflow as tf

from realm_tf.evaluation.calibration import Calibration
from realm_tf.options import ExportOptions
from realm_tf.serving import bundle as bundles
from realm_tf.serving.export.module_builder import ModuleBuilder

FINGERPRINTS = {"embedder": "e", "reader": "r", "tokenizer": "t"}


@pytest.fixture
def changed(make_qa, cities, tmp_path):
    """A model whose index had documents deleted, replaced and added."""
    qa = make_qa()
    qa.build_index(cities, tmp_path / "index")
    qa.delete_documents(["paris", "travel"])
    qa.add_documents(
        [{"id": "rome", "title": "Rome", "text": "New Rome.\nIt is a\tcity."}]
    )
    return qa


@pytest.mark.parametrize("storage", ["float32", "bfloat16"])
def test_answering_model_knows_the_documents_that_can_be_found(
    changed, storage
):
    options = ExportOptions(models=("qa",), storage=storage)
    builder = ModuleBuilder(changed.parts, changed.index, options, FINGERPRINTS)
    questions = ["Where is Rome?", "Where is Paris?"]
    with builder.module(bundles.QA) as module:
        (serve,) = module.signatures.values()
        got = serve(question=tf.constant(questions))
    answers = changed.predict(questions, num_alternatives=0)
    texts = [text.decode() for text in got["block_text"].numpy()[:, 0]]
    ids = got["block_id"].numpy()
    live = changed.index.live_block_ids()
    assert len(live) == changed.index.num_blocks and set(ids.ravel()) <= {
        *live,
        -1,
    }
    if storage == "float32":
        assert texts == [answer.block.text for answer in answers]
        assert ids[:, 0].tolist() == [a.block.block_id for a in answers]
        np.testing.assert_allclose(
            got["probability"][:, 0],
            [a.probability for a in answers],
            atol=1e-5,
        )


def test_calibration_is_exported(changed):
    changed.calibration = Calibration(temperature=0.5, threshold=0.25)
    options = ExportOptions(models=("qa",))
    builder = ModuleBuilder(changed.parts, changed.index, options, FINGERPRINTS)
    with builder.module(bundles.QA) as module:
        (serve,) = module.signatures.values()
        got = serve(question=tf.constant(["Where is Rome?"]))
    np.testing.assert_array_equal(got["threshold"], [0.25])
    answer = changed.ask("Where is Rome?")
    assert answer.threshold == 0.25
    best = float(got["probability"][0, 0])
    assert best == pytest.approx(answer.probability, abs=1e-5)
    changed.calibration = Calibration()
    assert changed.ask("Where is Rome?").probability < best - 0.01


@pytest.mark.parametrize("name", bundles.MODEL_NAMES[:3])
def test_module_answers_its_own_requests(qa, name):
    builder = ModuleBuilder(qa.parts, None, ExportOptions(), FINGERPRINTS)
    with builder.module(name) as module:
        signatures = module.signatures
        for signature, inputs in builder.requests(name):
            values = {k: tf.constant(v.tolist()) for k, v in inputs.items()}
            outputs = signatures[signature](**values)
            assert {len(output) for output in outputs.values()} == {2}
