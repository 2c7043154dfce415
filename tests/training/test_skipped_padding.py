import keras
import pytest

from realm_tf.training import skipped_padding as module
from realm_tf.training.skipped_padding import skipped_padding


@pytest.mark.parametrize(
    ("jit_compile", "accelerator", "skips"),
    [(False, False, True), (True, False, False), (False, True, False)],
)
def test_padding_is_skipped_on_processors(
    qa, monkeypatch, jit_compile, accelerator, skips
):
    monkeypatch.setattr(module, "has_accelerator", lambda: accelerator)
    qa.model.compile(optimizer=keras.optimizers.SGD(), jit_compile=jit_compile)
    with skipped_padding(qa.model):
        for layer in (qa.reader, qa.query_embedder):
            assert (layer.run_backbone is not None) == skips
    assert qa.reader.run_backbone is None


def test_layers_that_recompute_are_left_alone(qa):
    qa.model.compile(optimizer=keras.optimizers.SGD(), jit_compile=False)
    qa.reader.gradient_checkpointing = True
    try:
        with skipped_padding(qa.model):
            assert qa.reader.run_backbone is None
            assert qa.query_embedder.run_backbone is not None
    finally:
        qa.reader.gradient_checkpointing = False
