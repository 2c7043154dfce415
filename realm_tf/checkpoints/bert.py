"""A BERT folder in the Hugging Face layout -> backbone, vocabulary, pooling."""

import dataclasses
import json
import os
import pathlib
from typing import Any

import keras
import keras_hub

from realm_tf._constants import EMBEDDING_DIM
from realm_tf.checkpoints.hugging_face import load_words_encoder
from realm_tf.checkpoints.presets import Parts
from realm_tf.checkpoints.weight_check import check_layer
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.layers.embedder import Embedder
from realm_tf.layers.span_reader import SpanReader

_WEIGHTS_NAME = "model.safetensors"
_CONFIG_NAME = "config.json"
_VOCABULARY_NAME = "vocab.txt"
_NAMES = (_CONFIG_NAME, _WEIGHTS_NAME, _VOCABULARY_NAME)
_ALLOWED = {
    "model_type": ("bert",),
    # What `BertBackbone` computes; it would not notice anything else.
    "hidden_act": (None, "gelu", "gelu_new", "gelu_pytorch_tanh"),
    "position_embedding_type": (None, "absolute"),
}


def is_bert_folder(path: pathlib.Path) -> bool:
    """Whether `BertFolder.open` is for this folder."""
    if not all((path / name).is_file() for name in _NAMES):
        return False
    return _read_json(path / _CONFIG_NAME).get("model_type") == "bert"


@dataclasses.dataclass(frozen=True)
class BertFolder:
    """The settings of a BERT folder, without the weights.

    Args:
        path: the folder.
        featurizer: `Featurizer` of its vocabulary.
        pooling: "mean" if the folder says that its sentence embeddings are
            means, as sentence-transformers does; otherwise "cls".
        hidden_dim: width of the backbone.
    """

    path: pathlib.Path
    featurizer: Featurizer
    pooling: str
    hidden_dim: int

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], **featurizer_options: Any
    ) -> "BertFolder":
        """Reads the configuration and the vocabulary.

        Args:
            path: folder with `config.json`, `model.safetensors` and
                `vocab.txt`.
            **featurizer_options: of `Featurizer`.

        Raises:
            ValueError: if the folder is no BERT, naming what is missing.
        """
        path = pathlib.Path(path)
        if missing := [n for n in _NAMES if not (path / n).is_file()]:
            raise ValueError(
                f"A BERT folder must hold {', '.join(_NAMES)}. Received: "
                f"{path}, without {', '.join(missing)}. Save the model with "
                "`save_pretrained(folder)` and name that folder."
            )
        config = _read_json(path / _CONFIG_NAME)
        for name, allowed in _ALLOWED.items():
            if config.get(name) not in allowed:
                raise ValueError(
                    f"`{name}` must be one of {allowed}. Received: "
                    f"{config.get(name)!r} in {path / _CONFIG_NAME}. Choose a "
                    "checkpoint of the BERT family."
                )
        tokenizer = _read_json(path / "tokenizer_config.json", default={})
        featurizer_options.setdefault(
            "lowercase", tokenizer.get("do_lower_case", True)
        )
        featurizer = Featurizer.from_file(
            path / _VOCABULARY_NAME, **featurizer_options
        )
        num_rows = config.get("vocab_size", 0)
        if featurizer.vocabulary_size > num_rows:
            raise ValueError(
                "The vocabulary must fit the embedding table. Received: "
                f"{featurizer.vocabulary_size} words in {_VOCABULARY_NAME}, "
                f"{num_rows} rows in {_CONFIG_NAME}. Take both from the same "
                "checkpoint."
            )
        return cls(path, featurizer, _pooling(path), config["hidden_size"])

    def load_backbone(
        self, *, dropout: float = 0.1, dtype: Any = None
    ) -> keras.Model:
        """Reads the weights into a new `keras_hub.models.BertBackbone`.

        Args:
            dropout: rate of hidden and attention dropout in training.
            dtype: dtype or policy; defaults to Keras' global policy.
        """
        backbone = keras_hub.models.BertBackbone.from_preset(
            str(self.path),
            dropout=dropout,
            dtype=dtype or keras.config.dtype_policy(),
        )
        check_layer(backbone, self.path)
        return backbone

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

        Where the file has a head for masked words, the encoder is loaded too,
        which pre-training continues to train.

        Args:
            embedding_dim: width of the embeddings. Defaults to that of the
                model with mean pooling (after the same fine-tuning of
                all-MiniLM-L6-v2, 384 dimensions found 0.88 of the answers
                among five blocks and 128 dimensions 0.82), otherwise to 128.
            pooling: "cls" or "mean"; defaults to that of the folder.
            dropout: rate in training. Published: 0.1, with which training
                takes a third more time.
            dtype: see `load_backbone`.
            logit_scale: expected inner product of an embedding with itself,
                set by the layer norm of a "cls" embedder. Published start:
                `embedding_dim`. Its softmax over blocks is sharp before it
                knows anything: the loss of ICT with MiniLM and 32 blocks was
                2.29 nats, and 1.22 with a scale of 20.

        Returns:
            `Parts`. The projection of a mean-pooled embedder is still to be
            fitted.

        Raises:
            ValueError: if `logit_scale` is not positive, or given for a
                mean-pooled embedder.
        """
        pooling = pooling or self.pooling
        is_sentence_encoder = pooling == "mean"
        if embedding_dim is None:
            embedding_dim = (
                self.hidden_dim if is_sentence_encoder else EMBEDDING_DIM
            )
        embedder = Embedder(
            self.load_backbone(dropout=dropout, dtype=dtype),
            embedding_dim=embedding_dim,
            pooling=pooling,
            layer_norm_epsilon=None if is_sentence_encoder else 1e-12,
            dropout=0.0 if is_sentence_encoder else dropout,
            name="query_embedder",
        )
        if logit_scale is not None:
            _scale_logits(embedder, logit_scale)
        return Parts(
            featurizer=self.featurizer,
            query_embedder=embedder,
            block_embedder=embedder,
            reader=SpanReader(
                self.load_backbone(dropout=dropout, dtype=dtype), name="reader"
            ),
            options={"projection_fitted": not is_sentence_encoder},
            encoder=load_words_encoder(self.path, dropout=dropout, dtype=dtype),
        )


def _scale_logits(embedder: Embedder, logit_scale: float) -> None:
    if embedder.layer_norm is None or logit_scale <= 0:
        raise ValueError(
            "`logit_scale` must be positive, and None with mean pooling, "
            "whose projection is fitted to a scale of its own. Received: "
            f"logit_scale={logit_scale}, pooling={embedder.pooling!r}. Choose "
            '20, or pooling="cls".'
        )
    embedder.build(None)
    gamma = embedder.layer_norm.gamma
    # Normalised embeddings have a squared length of `embedding_dim`.
    size = (logit_scale / embedder.embedding_dim) ** 0.5
    gamma.assign(keras.ops.full(gamma.shape, size, gamma.dtype))


def _pooling(path: pathlib.Path) -> str:
    config = _read_json(path / "1_Pooling" / _CONFIG_NAME, default={})
    # sentence-transformers names the modes since 5.4, and had flags before.
    modes = config.get("pooling_mode")
    is_mean = modes in ("mean", ["mean"])
    if modes is None:
        is_mean = bool(config.get("pooling_mode_mean_tokens"))
    return "mean" if is_mean else "cls"


def _read_json(
    path: pathlib.Path, default: dict[str, Any] | None = None
) -> dict[str, Any]:
    if default is not None and not path.is_file():
        return default
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _no_object(path, str(error)) from error
    if not isinstance(content, dict):
        raise _no_object(path, type(content).__name__)
    return content


def _no_object(path: pathlib.Path, found: str) -> ValueError:
    return ValueError(
        f"{path} must hold a JSON object. Received: {found}. Download the "
        "checkpoint again."
    )
