"""Named presets: finished ones, which `RealmQA.presets` lists."""

import dataclasses
import os
import pathlib
import types

import realm_tf
from realm_tf.errors import FolderError

PACKAGE = pathlib.Path(realm_tf.__file__).parent


@dataclasses.dataclass(frozen=True)
class NamedPreset:
    """A finished preset that has a name.

    Args:
        description: what it answers, in a line.
        location: its folder; a relative path is that of a folder in the
            package or, if it is not shipped, in the cache.
        licence: of the weights.
        figures: what it reaches, in a line.
    """

    description: str
    location: str
    licence: str = "not stated"
    figures: str = "not stated"

    @property
    def path(self) -> pathlib.Path:
        """The folder on this machine.

        Raises:
            FolderError: if it is not there.
        """
        folders = [root / self.location for root in (PACKAGE, cache_folder())]
        for folder in folders:
            if folder.is_dir():
                return folder
        raise FolderError(
            f"The preset {self.location} is not on this machine. It was looked "
            f"for at {' and '.join(map(str, dict.fromkeys(folders)))}. Install "
            "realm_tf again, or put the preset there."
        )

    @property
    def megabytes(self) -> float:
        """Size of the folder, in 10^6 bytes; see `path` for errors."""
        files = [file for file in self.path.rglob("*") if file.is_file()]
        return round(sum(file.stat().st_size for file in files) / 1e6, 1)


_REGISTERED: dict[str, NamedPreset] = {}
PRESETS = types.MappingProxyType(_REGISTERED)
"""All named presets; see `register_preset`."""


def register_preset(
    name: str,
    description: str,
    location: str | os.PathLike[str],
    **facts: str,
) -> None:
    """Gives a preset a name that `RealmQA.from_preset` takes.

    Args:
        name: an identifier, such as "realm_minilm_en".
        description: see `NamedPreset`.
        location: see `NamedPreset`.
        **facts: the others of `NamedPreset`.

    Raises:
        ValueError: if `name` is no identifier, or names another preset.
    """
    preset = NamedPreset(description, os.fspath(location), **facts)
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


register_preset(
    "realm_minilm_en",
    "Answers English questions from your documents; six layers, 384 wide.",
    "presets/realm_minilm_en",
    licence="Apache-2.0",
    figures="exact match .614, F1 .706 on 2,185 questions over 3,648 passages",
)
