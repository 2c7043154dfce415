import pytest

from realm_tf.engine import inference_backbone as module
from realm_tf.engine.inference_backbone import inference_backbone
from realm_tf.engine.packed_backbone import PackedBackbone
from realm_tf.engine.padded_backbone import PaddedBackbone


@pytest.mark.parametrize(
    ("jit_compile", "accelerator", "kind"),
    [
        (False, False, PackedBackbone),
        (True, False, PaddedBackbone),
        (False, True, PaddedBackbone),
    ],
)
def test_compilers_get_static_shapes(
    qa, monkeypatch, jit_compile, accelerator, kind
):
    monkeypatch.setattr(module, "has_accelerator", lambda: accelerator)
    runner = inference_backbone(qa.reader.backbone, jit_compile)
    assert type(runner) is kind
