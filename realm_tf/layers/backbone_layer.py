"""What every layer over a BERT backbone shares."""

import keras
from keras import ops

FEATURES = ("token_ids", "segment_ids", "padding_mask")


def tower_features(inputs, prefix):
    """The features of a backbone, `prefix` taken off their names."""
    return {name: inputs[f"{prefix}_{name}"] for name in FEATURES}


class BackboneLayer(keras.layers.Layer):
    """Abstract layer with a backbone, for inputs with any leading axes.

    A backbone takes `(batch, length)`. Candidates of a query make that
    `(batch, num_candidates, length)`, so `encode` folds the leading axes into
    one and `restore` unfolds them.

    With the attribute `gradient_checkpointing`, training keeps the input of
    each transformer layer alone and recomputes the layer for its gradient:
    less memory, more time, the same numbers, dropout included. It is not saved,
    as it belongs to a training and not to the weights. The attribute
    `run_backbone`, a function, replaces the call of `backbone`; see
    `skipped_padding` of `realm_tf.training`.

    Args:
        backbone: `keras_hub.models.BertBackbone`. It is owned, not copied.
            Two layers given the same backbone share its weights.
        **kwargs: of `keras.layers.Layer`. `dtype` defaults to the policy of
            `backbone`.
    """

    def __init__(self, backbone, **kwargs):
        kwargs.setdefault("dtype", backbone.dtype_policy)
        # Inputs are integers; outputs are cast explicitly.
        super().__init__(autocast=False, **kwargs)
        self.backbone = backbone
        self.gradient_checkpointing = False
        self.run_backbone = None

    def encode(self, inputs, output, training=None):
        """Run the backbone and return its `output`, leading axes folded."""
        folded = {
            name: ops.reshape(inputs[name], (-1, ops.shape(inputs[name])[-1]))
            for name in FEATURES
        }
        if self.gradient_checkpointing and training:
            return _checkpointed(self.backbone, folded)[output]
        run = self.run_backbone or self.backbone
        return run(folded, training=training)[output]

    def restore(self, outputs, inputs):
        """Give `outputs` the leading axes of `inputs` again."""
        leading_axes = ops.shape(inputs["token_ids"])[:-1]
        return ops.reshape(outputs, leading_axes + ops.shape(outputs)[1:])

    def freeze_pooler(self):
        """Take the backbone's pooler, which this layer never reads, out of fit.

        Its weights would have no gradient, which Keras warns about.
        """
        self.backbone.pooled_dense.trainable = False

    def get_config(self):
        backbone = keras.saving.serialize_keras_object(self.backbone)
        return {**super().get_config(), "backbone": backbone}

    @classmethod
    def from_config(cls, config):
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        return super().from_config({**config, "backbone": backbone})


def _checkpointed(backbone, inputs):
    """The outputs of a backbone in training, each of its layers recomputed."""
    tokens = backbone.token_embedding(inputs["token_ids"])
    positions = backbone.position_embedding(tokens)
    segments = backbone.segment_embedding(inputs["segment_ids"])
    x = backbone.embeddings_add((tokens, positions, segments))
    x = backbone.embeddings_layer_norm(x)
    x = backbone.embeddings_dropout(x, training=True)
    for layer in backbone.transformer_layers:
        x = _recomputed(layer, x, inputs["padding_mask"])
    pooled = backbone.pooled_dense(x[:, backbone.cls_token_index, :])
    return {"sequence_output": x, "pooled_output": pooled}


def _recomputed(layer, x, padding_mask):
    """The output of a transformer layer that backward recomputes.

    `keras.remat(layer)` would move the seeds of dropout twice and drop others
    the second time. So the call is a function of weights and seeds.
    """
    weights = layer.weights
    seeds = [v for v in layer.variables if "seed" in v.name]
    # Copies: eager TensorFlow would read the variables when it recomputes, and
    # count their gradients twice.
    values, before = (list(map(ops.copy, v)) for v in (weights, seeds))

    def call(x, *values):
        # Seeds are captured: TensorFlow warns of integer arguments.
        state = zip(weights + seeds, [*values, *before], strict=True)
        with keras.StatelessScope(list(state)) as scope:
            outputs = layer(x, padding_mask=padding_mask, training=True)
        return outputs, *map(scope.get_current_value, seeds)

    outputs, *after = keras.remat(call)(x, *values)
    for seed, value in zip(seeds, after, strict=True):
        seed.assign(value)
    return outputs
