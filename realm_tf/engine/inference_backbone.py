"""Which of the two ways to run a backbone suits this machine."""

import keras_hub

from realm_tf.engine.packed_backbone import PackedBackbone
from realm_tf.engine.padded_backbone import PaddedBackbone
from realm_tf.engine.token_budget import has_accelerator


def inference_backbone(
    backbone: keras_hub.models.BertBackbone, jit_compile: bool
) -> PackedBackbone | PaddedBackbone:
    """A backbone that is called with `PackedTokens`.

    Args:
        backbone: `keras_hub.models.BertBackbone`; its weights are shared.
        jit_compile: compile with XLA, which needs static shapes. A GPU or TPU
            always gets these.
    """
    if jit_compile or has_accelerator():
        return PaddedBackbone(backbone)
    return PackedBackbone(backbone)
