from realm_tf.options import ExportOptions
from realm_tf.serving.bundle import QA
from realm_tf.serving.export.module_builder import ModuleBuilder


def test_signature_has_the_documented_names_and_shapes(qa):
    fingerprints = {"embedder": "e", "reader": "r"}
    builder = ModuleBuilder(
        qa.parts, qa.index, ExportOptions(num_answers=2), fingerprints
    )
    with builder.module(QA) as module:
        (serve,) = module.signatures.values()
    (question,), _ = serve.structured_input_signature
    assert question.name == "question"
    outputs = serve.structured_outputs
    for name in ("text", "block_id", "block_title", "block_text"):
        assert outputs[name].shape.as_list() == [None, 2]
    assert outputs["fingerprint"].shape.as_list() == [None]
    assert outputs["threshold"].shape.as_list() == [None]
