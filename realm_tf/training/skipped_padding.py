"""Training that computes no padding, on processors."""

import contextlib
from collections.abc import Iterator

import keras

from realm_tf.engine.packed_backbone import PackedBackbone
from realm_tf.engine.token_budget import has_accelerator
from realm_tf.layers.backbone_layer import BackboneLayer


@contextlib.contextmanager
def skipped_padding(model: keras.Model) -> Iterator[None]:
    """Lets the backbones of a model skip padding, where that is faster.

    That is on processors, where a third of a reader's batch is padding. A GPU
    or TPU, and XLA everywhere, want static shapes. The numbers are the same;
    in half precision, residuals and layer norms are float32 in addition.

    Args:
        model: `keras.Model`, compiled, with `BackboneLayer`s.
    """
    layers = [
        layer
        for layer in model.layers
        if isinstance(layer, BackboneLayer) and not layer.gradient_checkpointing
    ]
    is_other_backend = keras.backend.backend() != "tensorflow"
    if is_other_backend or model.jit_compile or has_accelerator():
        layers = []
    for layer in layers:
        backbone = PackedBackbone(layer.backbone, copy_kernels=False)
        layer.run_backbone = backbone.padded
    try:
        yield
    finally:
        for layer in layers:
            layer.run_backbone = None
