"""Checkpoints that are elsewhere -> a folder on this machine."""

import atexit
import importlib
import os
import pathlib
import shutil
import tempfile
from typing import Any

import tensorflow as tf

from realm_tf._files import check_disk_space
from realm_tf.errors import CheckpointError

_HUB = "hf://"
# What an importer reads; repositories also hold the same weights for others.
_PATTERNS = ["*.json", "*.txt", "*.safetensors", "*.bin", "*.npy", "*.h5"]
_PATTERNS += ["corpus/*", "index/*"]  # of a preset


def fetched(source: str | os.PathLike[str]) -> pathlib.Path:
    """Path of a checkpoint on this machine.

    Args:
        source: a local path, which is returned as it is; a path that
            `tf.io.gfile` reads, such as `gs://...`, which is copied into a
            temporary folder until the process ends; or `hf://owner/name`.

    Raises:
        CheckpointError: if it cannot be fetched, with the way to do it by
            hand.
    """
    text = os.fspath(source)
    if text.startswith(_HUB):
        return _from_hub(text.removeprefix(_HUB))
    if "://" not in text:
        return pathlib.Path(text)
    try:
        target = pathlib.Path(tempfile.mkdtemp(prefix="realm_tf-"))
        # Embeddings are read from there later on, too.
        atexit.register(shutil.rmtree, target, ignore_errors=True)
        copy_folder(text.rstrip("/"), target)
        return target
    except (tf.errors.OpError, OSError) as error:
        raise CheckpointError(
            f"`source` must be readable. Received: {text} "
            f"({str(error)[:200]}). Download it, for example with `gsutil cp "
            f"-r {text} .`, and pass the folder."
        ) from error


def copy_folder(root: str, target: pathlib.Path) -> None:
    """Copies a folder that `tf.io.gfile` reads to a new one on this machine.

    Raises:
        CheckpointError: if a name leads elsewhere.
        FileNotFoundError: if nothing is there.
        OSError: if there is no room.
    """
    files = [
        f"{folder}/{name}"
        for folder, _, names in tf.io.gfile.walk(root)
        for name in names
    ]
    if not files:
        raise FileNotFoundError(f"nothing at {root}")
    names = [file.removeprefix(root).lstrip("/") for file in files]
    if outside := [name for name in names if ".." in name.split("/")]:
        raise CheckpointError(
            f"Objects of {root} must have names without '..'. Received: "
            f"{outside[:3]}. Take the checkpoint from its publisher."
        )
    target.mkdir(parents=True, exist_ok=True)
    check_disk_space(target, sum(tf.io.gfile.stat(f).length for f in files))
    for file, name in zip(files, names, strict=True):
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tf.io.gfile.copy(file, str(path), overwrite=True)


def _from_hub(name: str) -> pathlib.Path:
    try:
        hub: Any = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise ImportError(
            f"huggingface_hub must be installed to fetch {_HUB}{name}. Run "
            "`pip install huggingface_hub`, or download the repository and "
            "pass its folder."
        ) from error
    try:
        return pathlib.Path(
            hub.snapshot_download(name, allow_patterns=_PATTERNS)
        )
    except Exception as error:  # of many libraries: no network, no such name
        raise CheckpointError(
            f"{_HUB}{name} could not be downloaded: "
            f"{type(error).__name__}: {str(error)[:200]}. Download it by hand, "
            f"`git clone https://huggingface.co/{name}`, and pass the folder."
        ) from error
