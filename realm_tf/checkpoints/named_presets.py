"""Named presets: finished ones, which `RealmQA.presets` lists."""

import dataclasses
import os
import pathlib
import types

import realm_tf
from realm_tf.errors import FolderError

_PACKAGE = pathlib.Path(realm_tf.__file__).parent


@dataclasses.dataclass(frozen=True)
class NamedPreset:
    """A finished preset that has a name.

    Args:
        description: what it answers, in a line.
        location: its folder; a relative path is that of a folder in the
            package or, if it is not shipped, in the cache.
    """

    description: str
    location: str

    @property
    def path(self) -> pathlib.Path:
        """The folder on this machine.

        Raises:
            FolderError: if it is not there.
        """
        folders = [root / self.location for root in (_PACKAGE, cache_folder())]
        for folder in folders:
            if folder.is_dir():
                return folder
        raise FolderError(
            f"The preset {self.location} is not on this machine. It was looked "
            f"for at {' and '.join(map(str, dict.fromkeys(folders)))}. Install "
            "realm_tf again, or put the preset there."
        )


_REGISTERED: dict[str, NamedPreset] = {}
PRESETS = types.MappingProxyType(_REGISTERED)
"""All named presets; see `register_preset`."""


def register_preset(
    name: str, description: str, location: str | os.PathLike[str]
) -> None:
    """Gives a preset a name that `RealmQA.from_preset` takes.

    Args:
        name: an identifier, such as "realm_minilm_en".
        description: see `NamedPreset`.
        location: see `NamedPreset`.

    Raises:
        ValueError: if `name` is no identifier, or names another preset.
    """
    preset = NamedPreset(description, os.fspath(location))
    if not name.isidentifier() or _REGISTERED.get(name, preset) != preset:
        raise ValueError(
            "`name` must be an identifier that names no other preset. "
            f"Received: name={name!r}, known: {', '.join(PRESETS) or 'none'}. "
            "Choose another name."
        )
    _REGISTERED[name] = preset


def cache_folder() -> pathlib.Path:
    """Where this machine keeps models: REALM_TF_CACHE or ~/.cache/realm_tf."""
    given = os.environ.get("REALM_TF_CACHE")
    return pathlib.Path(given or "~/.cache/realm_tf").expanduser()
