"""A BERT or sentence-transformers folder -> embedder and reader."""

import dataclasses
import os
import pathlib
from typing import Any

import keras
import numpy as np

from realm_tf._constants import (
    BLOCK_LENGTH,
    COSINE_LEXICAL_WEIGHT,
    COSINE_SCALE,
    EMBEDDING_DIM,
)
from realm_tf.checkpoints.hugging_face import (
    CONFIG_NAME,
    BertWeights,
    has_weights,
    open_tensors,
)
from realm_tf.checkpoints.json_object import read_json
from realm_tf.checkpoints.presets import Parts, build
from realm_tf.checkpoints.sentence_modules import (
    DenseModule,
    SentenceModules,
    is_sentence_folder,
    read_modules,
)
from realm_tf.checkpoints.vocabularies import (
    check_size,
    lengths,
    read_tokenizer,
)
from realm_tf.checkpoints.weight_check import check_floats, check_weights
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.errors import CheckpointError
from realm_tf.layers.embedder import Embedder
from realm_tf.layers.span_reader import SpanReader

_MAX_POSITIONS = 512
_ALLOWED = {
    "model_type": ("bert",),
    # What `BertBackbone` computes; it would not notice anything else.
    "hidden_act": (None, "gelu", "gelu_new", "gelu_pytorch_tanh"),
    "position_embedding_type": (None, "absolute"),
}


def is_bert_folder(path: pathlib.Path) -> bool:
    """Whether `BertFolder.open` is for this folder."""
    if is_sentence_folder(path):
        return True
    if not (path / CONFIG_NAME).is_file() or not has_weights(path):
        return False
    return read_json(path / CONFIG_NAME).get("model_type") == "bert"


@dataclasses.dataclass(frozen=True)
class BertFolder:
    """The settings of a BERT folder, without the weights.

    Args:
        path: folder of the backbone.
        featurizer: `Featurizer` of its vocabulary.
        pooling: that of a sentence encoder, "mean" or "first"; otherwise
            "cls", with a head that is still to be trained.
        hidden_dim: width of the backbone.
        modules: `SentenceModules` of a sentence encoder.
    """

    path: pathlib.Path
    featurizer: Featurizer
    pooling: str
    hidden_dim: int
    modules: SentenceModules | None = None

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], **featurizer_options: Any
    ) -> "BertFolder":
        """Reads configuration, tokenizer and, if any, `modules.json`.

        Args:
            path: folder with `config.json`, weights (`model.safetensors` or
                `pytorch_model.bin`, in one file or several) and `vocab.txt`
                or `tokenizer.json`; or that of sentence-transformers.
            **featurizer_options: of `Featurizer`. Lengths and prompts default
                to those of the folder.

        Raises:
            ValueError: if the folder is no BERT, naming what is missing or
                cannot be computed.
        """
        path = pathlib.Path(path)
        modules = None
        if is_sentence_folder(path):
            modules = read_modules(path)
            path = modules.transformer
        missing = [
            *([] if (path / CONFIG_NAME).is_file() else [CONFIG_NAME]),
            *([] if has_weights(path) else ["model.safetensors"]),
        ]
        if missing:
            raise CheckpointError(
                f"A BERT folder must hold {CONFIG_NAME}, weights and "
                f"vocab.txt. Received: {path}, without {', '.join(missing)}. "
                "Download the whole repository."
            )
        config = read_json(path / CONFIG_NAME)
        for name, allowed in _ALLOWED.items():
            if config.get(name) not in allowed:
                raise CheckpointError(
                    f"`{name}` must be one of {allowed}. Received: "
                    f"{config.get(name)!r} in {path / CONFIG_NAME}. Choose a "
                    "checkpoint of the BERT family."
                )
        num_rows = config.get("vocab_size", 0)
        tokenizer = read_tokenizer(path, size=num_rows)
        check_size(tokenizer.words, num_rows, path)
        longest = config.get("max_position_embeddings", _MAX_POSITIONS)
        options = {"lowercase": tokenizer.lowercase, **lengths(longest)}
        if modules is not None:
            options |= _of_modules(modules, options)
        featurizer = Featurizer(
            tokenizer.words, **{**options, **featurizer_options}
        )
        pooling = "cls" if modules is None else modules.pooling
        return cls(path, featurizer, pooling, config["hidden_size"], modules)

    def load_backbone(
        self, *, dropout: float = 0.1, dtype: Any = None
    ) -> keras.Model:
        """Reads the weights into a new `keras_hub.models.BertBackbone`.

        Args:
            dropout: rate of hidden and attention dropout in training.
            dtype: dtype or policy; defaults to Keras' global policy.
        """
        return BertWeights(self.path, dropout=dropout, dtype=dtype).backbone()

    def load_parts(
        self,
        *,
        embedding_dim: int | None = None,
        pooling: str | None = None,
        dropout: float = 0.0,
        dtype: Any = None,
        logit_scale: float | None = None,
    ) -> Parts:
        """Loads an embedder of questions and blocks, and a reader.

        A sentence encoder embeds as it was trained to, at its own width. The
        inner products of those that are compared by cosine are 20 times their
        cosine: a softmax over plain cosines would be flat.

        Their search compares words, too (`RealmQA.lexical_weight`), until
        training finds another weight.

        Where the file has a head for masked words, the encoder is loaded too,
        which pre-training continues to train.

        Args:
            embedding_dim: width of the embeddings. Defaults to that of a
                sentence encoder (after the same fine-tuning of
                all-MiniLM-L6-v2, 384 dimensions found 0.88 of the answers
                among five blocks and 128 dimensions 0.82), otherwise to 128.
            pooling: "cls", "mean" or "first"; defaults to that of the folder.
                Another one takes the backbone alone.
            dropout: rate in training. Published: 0.1, with which training
                takes a third more time.
            dtype: see `load_backbone`.
            logit_scale: expected inner product of an embedding with itself,
                set by the layer norm of a "cls" embedder. Published start:
                `embedding_dim`. Its softmax over blocks is sharp before it
                knows anything: the loss of ICT with MiniLM and 32 blocks was
                2.29 nats, and 1.22 with a scale of 20.

        Returns:
            `Parts`. The projection of an embedder with "mean" or "first" that
            is not that of the folder is still to be fitted.

        Raises:
            ValueError: if `logit_scale` is not positive, or given for
                another pooling than "cls"; or if `embedding_dim` is not the
                width of a `Dense` module.
        """
        pooling = pooling or self.pooling
        is_fitted = pooling == "cls"
        lexical_weight = 0.0
        weights = BertWeights(self.path, dropout=dropout, dtype=dtype)
        if self.modules is not None and pooling == self.modules.pooling:
            embedder = _sentence_embedder(
                weights.backbone(), self.modules, embedding_dim
            )
            has_own_width = embedding_dim in (None, self.hidden_dim)
            is_fitted = self.modules.dense is not None or has_own_width
            if self.modules.is_cosine:
                lexical_weight = COSINE_LEXICAL_WEIGHT
        else:
            width = EMBEDDING_DIM if pooling == "cls" else self.hidden_dim
            embedder = Embedder(
                weights.backbone(),
                embedding_dim=embedding_dim or width,
                pooling=pooling,
                layer_norm_epsilon=1e-12 if pooling == "cls" else None,
                dropout=dropout if pooling == "cls" else 0.0,
                name="query_embedder",
            )
        if logit_scale is not None:
            _scale_logits(embedder, logit_scale)
        return Parts(
            featurizer=self.featurizer,
            query_embedder=embedder,
            block_embedder=embedder,
            reader=SpanReader(weights.backbone(), name="reader"),
            options={
                "projection_fitted": is_fitted,
                "lexical_weight": lexical_weight,
            },
            encoder=weights.encoder(),
        )


def _of_modules(
    modules: SentenceModules, options: dict[str, Any]
) -> dict[str, Any]:
    """Options of `Featurizer` that `modules` decide."""
    most = modules.max_seq_length or BLOCK_LENGTH
    return {
        "query_length": min(options["query_length"], most),
        "block_length": min(options["block_length"], most),
        "query_prompt": modules.query_prompt,
        "block_prompt": modules.block_prompt,
    }


def _sentence_embedder(
    backbone: keras.Model, modules: SentenceModules, embedding_dim: int | None
) -> Embedder:
    """An embedder that computes what `modules` do."""
    dense = modules.dense
    own = dense.embedding_dim if dense else backbone.hidden_dim
    if dense and embedding_dim not in (None, own):
        raise ValueError(
            f"`embedding_dim` must be {own}, the width of {dense.folder}. "
            f"Received: embedding_dim={embedding_dim}. Leave it out, or choose "
            'pooling="cls" to train a new head.'
        )
    weights = _dense_weights(dense, backbone.hidden_dim) if dense else []
    length = COSINE_SCALE**0.5 if modules.is_cosine else 1.0
    embedder = Embedder(
        backbone,
        embedding_dim=embedding_dim or own,
        pooling=modules.pooling,
        layer_norm_epsilon=None,
        dropout=0.0,
        activation=dense.activation if dense else "linear",
        normalize_states=modules.normalize_states
        if dense
        else modules.is_cosine,
        embedding_norm=length if dense and modules.is_cosine else None,
        name="query_embedder",
    )
    build(embedder)
    if dense:
        for variable, value in zip(
            embedder.projection.weights, weights, strict=False
        ):
            variable.assign(value)
    elif embedder.embedding_dim == own:
        # Nothing but the scale: the cosines are those of the checkpoint.
        embedder.projection.kernel.assign(length * np.eye(own))
    return embedder


def _dense_weights(dense: DenseModule, hidden_dim: int) -> list[np.ndarray]:
    """Kernel and, if there is one, bias of a module."""
    file = open_tensors(dense.folder)
    expected = {
        "linear.weight": (dense.embedding_dim, hidden_dim),
        "linear.bias": (dense.embedding_dim,),
    }
    weights = []
    for name, shape in expected.items():
        if name == "linear.bias" and name not in file.shapes:
            continue
        if file.shapes.get(name) != shape:
            raise file.damaged(
                f"{name} of shape {file.shapes.get(name)}, not {shape}"
            )
        value = file.read(name)
        check_floats(name, value, file.path)
        check_weights([(name, value)], file.path)
        weights.append(value.T)
    return weights


def _scale_logits(embedder: Embedder, logit_scale: float) -> None:
    if embedder.layer_norm is None or logit_scale <= 0:
        raise ValueError(
            "`logit_scale` must be positive, and None without a layer norm, "
            "as with mean pooling, which has a scale of its own. Received: "
            f"logit_scale={logit_scale}, pooling={embedder.pooling!r}. Choose "
            '20, or pooling="cls".'
        )
    embedder.build(None)
    gamma = embedder.layer_norm.gamma
    # Normalised embeddings have a squared length of `embedding_dim`.
    size = (logit_scale / embedder.embedding_dim) ** 0.5
    gamma.assign(keras.ops.full(gamma.shape, size, gamma.dtype))
