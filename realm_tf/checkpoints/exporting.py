"""Our parts -> the layouts that they were published in."""

import json
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from realm_tf._files import check_disk_space
from realm_tf.checkpoints.files.safetensors_file import write_safetensors
from realm_tf.checkpoints.presets import Parts, read_preset
from realm_tf.checkpoints.variable_names import (
    EMBEDDER,
    ENCODER,
    HUGGING_FACE,
    READER,
    TF1,
    PartNames,
    keras_path,
)

Layout = dict[str, PartNames]


def _hugging_face(kind: str, prefix: str = "") -> PartNames:
    head = "" if kind == ENCODER else prefix
    return PartNames(kind, HUGGING_FACE, f"{prefix}realm.", head)


def _tf1(kind: str, backbone: str, head: str = "") -> PartNames:
    return PartNames(kind, TF1, backbone, head)


# Model class -> the part of ours for each part of it, with its names.
HUGGING_FACE_LAYOUTS: dict[str, Layout] = {
    "RealmForOpenQA": {
        "query_embedder": _hugging_face(EMBEDDER, "embedder."),
        "reader": _hugging_face(READER, "reader."),
    },
    "RealmScorer": {
        "block_embedder": _hugging_face(EMBEDDER, "embedder."),
        "query_embedder": _hugging_face(EMBEDDER, "query_embedder."),
    },
    "RealmEmbedder": {"block_embedder": _hugging_face(EMBEDDER)},
    "RealmReader": {"reader": _hugging_face(READER)},
    "RealmKnowledgeAugEncoder": {"encoder": _hugging_face(ENCODER)},
}
_DEEP = "module/module/module/"
TF1_LAYOUTS: dict[str, Layout] = {
    "orqa": {
        "query_embedder": _tf1(EMBEDDER, f"module/{_DEEP}", _DEEP),
        "reader": _tf1(READER, "reader/module/", "reader/"),
    },
    "embedder": {"block_embedder": _tf1(EMBEDDER, _DEEP, "module/module/")},
    "bert": {"encoder": _tf1(ENCODER, "")},
}


def export_preset(
    preset: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    layout: str,
) -> None:
    """Writes a preset in a published layout, with equal weights.

    Args:
        preset: folder of a preset.
        folder: new folder.
        layout: a model class of transformers 4.38 ("RealmForOpenQA",
            "RealmScorer", "RealmEmbedder", "RealmReader",
            "RealmKnowledgeAugEncoder"), or "orqa", "embedder" or "bert" for a
            TensorFlow 1 checkpoint.

    Raises:
        ValueError: if a part is missing, or computes what the layout cannot
            tell.
        FileExistsError: if the folder is there.
        OSError: if there is no room.
    """
    is_tf1 = layout in TF1_LAYOUTS
    write = export_tf1 if is_tf1 else export_hugging_face
    write(read_preset(preset, dtype="float32"), folder, layout)


def export_hugging_face(
    parts: Parts, folder: str | os.PathLike[str], architecture: str
) -> None:
    """Writes a folder that transformers 4.38 loads.

    Args:
        parts: `Parts`; those that the class has must be there.
        folder: new folder.
        architecture: a key of `HUGGING_FACE_LAYOUTS`.

    Raises:
        ValueError: if a part is missing, or computes what the class does not.
        FileExistsError: if the folder is there.
        OSError: if there is no room.
    """
    layout = _layout(HUGGING_FACE_LAYOUTS, architecture, parts)
    config = _config(parts, layout) | {"architectures": [architecture]}
    tensors = _tensors(parts, layout)
    folder = _new_folder(folder, tensors)
    contiguous = {k: np.ascontiguousarray(v) for k, v in tensors.items()}
    write_safetensors(
        folder / "model.safetensors", contiguous, {"format": "pt"}
    )
    _write_json(folder / "config.json", config)
    lowercase = {"do_lower_case": parts.featurizer.lowercase}
    _write_json(folder / "tokenizer_config.json", lowercase)
    _write_vocabulary(folder / "vocab.txt", parts)


def export_tf1(
    parts: Parts, folder: str | os.PathLike[str], layout_name: str
) -> None:
    """Writes a TensorFlow checkpoint with the published names.

    Args:
        parts: `Parts`; those that the layout has must be there.
        folder: new folder. "orqa" writes `export/best_default/checkpoint/
            model.ckpt-0`, the others `variables/` and `assets/` of a hub
            module, without its graph. `params.json` holds what variables do
            not tell, such as the number of attention heads.
        layout_name: a key of `TF1_LAYOUTS`.

    Raises:
        ValueError: if a part is missing, or computes what the layout cannot
            tell.
        FileExistsError: if the folder is there.
        OSError: if there is no room.
    """
    layout = _layout(TF1_LAYOUTS, layout_name, parts)
    for name, names in layout.items():
        if names.kind == EMBEDDER:
            epsilon = getattr(parts, name).layer_norm_epsilon
            norm = "LayerNorm" if epsilon == 1e-12 else "layer_normalization"
            layout[name] = names._replace(norm=norm)
    tensors = _tensors(parts, layout)
    folder = _new_folder(folder, tensors)
    prefix, vocabulary = folder / "variables/variables", "assets/vocab.txt"
    if layout_name == "orqa":
        prefix = folder / "export/best_default/checkpoint/model.ckpt-0"
        vocabulary = "vocab.txt"
    _write_json(folder / "params.json", _params(parts, layout))
    prefix.parent.mkdir(parents=True)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )
    (folder / vocabulary).parent.mkdir(exist_ok=True)
    _write_vocabulary(folder / vocabulary, parts)


def _layout(layouts: dict[str, Layout], name: str, parts: Parts) -> Layout:
    if name not in layouts:
        raise ValueError(
            f"The layout must be one of {sorted(layouts)}. Received: {name!r}."
        )
    layout = dict(layouts[name])
    missing = [part for part in layout if getattr(parts, part) is None]
    if missing:
        raise ValueError(
            f"A {name} must have {', '.join(layout)}. Received: a model with "
            f"{', '.join(parts.layers)}. Choose another layout."
        )
    for part, names in layout.items():
        layer = getattr(parts, part)
        if names.kind == EMBEDDER and (
            layer.pooling != "cls"
            or layer.layer_norm_epsilon not in (1e-12, 1e-3)
        ):
            raise ValueError(
                "A published embedder has `pooling='cls'` and a layer norm "
                f"with epsilon 1e-12 or 1e-3. Received: {layer.pooling!r} and "
                f"{layer.layer_norm_epsilon}. Export a SavedModel."
            )
    return layout


def _tensors(parts: Parts, layout: Layout) -> dict[str, np.ndarray]:
    tensors = {}
    for part, names in layout.items():
        layer = getattr(parts, part)
        for variable in layer.weights:
            path = keras_path(variable.path, layer.name)
            value = np.asarray(variable.numpy(), np.float32)
            tensors[names.of(path)] = names.to_source(path, value)
    return tensors


def _params(parts: Parts, layout: Layout) -> dict[str, Any]:
    """What the variables of a TF1 checkpoint do not tell."""
    backbone = getattr(parts, next(iter(layout))).backbone
    params = {"num_attention_heads": backbone.num_heads}
    if "reader" in layout:
        params |= {
            "reader_seq_len": parts.featurizer.joint_length,
            "reader_beam_size": parts.options.get("num_read", 5),
            "max_span_width": parts.reader.max_span_width,
            "reader_layer_norm_eps": parts.reader.layer_norm_epsilon,
        }
    return params


def _config(parts: Parts, layout: Layout) -> dict[str, Any]:
    layers = {name: getattr(parts, name) for name in layout}
    backbone = next(iter(layers.values())).backbone
    config = {
        "model_type": "realm",
        "vocab_size": backbone.vocabulary_size,
        "hidden_size": backbone.hidden_dim,
        "num_hidden_layers": backbone.num_layers,
        "num_attention_heads": backbone.num_heads,
        "intermediate_size": backbone.intermediate_dim,
        "hidden_act": "gelu_new",
        "hidden_dropout_prob": backbone.dropout,
        "attention_probs_dropout_prob": backbone.dropout,
        "max_position_embeddings": backbone.max_sequence_length,
        "type_vocab_size": backbone.num_segments,
        "layer_norm_eps": 1e-12,
        "pad_token_id": parts.featurizer.pad_id,
        "reader_beam_size": parts.options.get("num_read", 5),
        "reader_seq_len": parts.featurizer.joint_length,
        # transformers would make room for the embeddings of all Wikipedia.
        "num_block_records": 0,
    }
    for name, layer in layers.items():
        if name == "reader":
            config |= {
                "span_hidden_size": layer.span_hidden_dim,
                "max_span_width": layer.max_span_width,
                "reader_layer_norm_eps": layer.layer_norm_epsilon,
            }
        elif name != "encoder":
            if layer.layer_norm_epsilon != 1e-12:
                raise ValueError(
                    "The embedder of a Hugging Face model has a layer norm "
                    "with epsilon 1e-12. Received: "
                    f"{layer.layer_norm_epsilon}. Export to TF1."
                )
            config["retriever_proj_size"] = layer.embedding_dim
    return config


def _new_folder(
    folder: str | os.PathLike[str], tensors: dict[str, np.ndarray]
) -> pathlib.Path:
    folder = pathlib.Path(folder)
    check_disk_space(folder, sum(tensor.nbytes for tensor in tensors.values()))
    folder.mkdir(parents=True)
    return folder


def _write_json(path: pathlib.Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def _write_vocabulary(path: pathlib.Path, parts: Parts) -> None:
    words = parts.featurizer.vocabulary
    path.write_text("\n".join(words) + "\n", encoding="utf-8")
