"""JSON files of checkpoints, each of which holds one object."""

import json
import pathlib
from typing import Any

from realm_tf.errors import CheckpointError


def read_json(
    path: pathlib.Path, default: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Reads a JSON object.

    Args:
        path: the file.
        default: what to return if there is no such file.

    Raises:
        CheckpointError: if it holds anything else.
        FileNotFoundError: if there is no such file, and no default.
    """
    if default is not None and not path.is_file():
        return default
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise _no_object(path, str(error)) from error
    if not isinstance(content, dict):
        raise _no_object(path, type(content).__name__)
    return content


def _no_object(path: pathlib.Path, found: str) -> CheckpointError:
    return CheckpointError(
        f"{path} must hold a JSON object. Received: {found}. Download it again."
    )
