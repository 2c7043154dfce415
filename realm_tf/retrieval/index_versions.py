"""Names and order of the versions in an index folder.

    index/v000001/  index/v000002/ ...

Versions are ordered by number, never by time, and a number is used once.
"""

import os
import pathlib
import re
import shutil

from realm_tf._manifest import MANIFEST_NAME, TEMPORARY_MARK, FolderError

_NAME = re.compile(r"v(\d{6,})")


def version_folder(root: str | os.PathLike[str], version: int) -> pathlib.Path:
    """Where a version is, or would be."""
    return pathlib.Path(root) / f"v{version:06d}"


def list_versions(root: str | os.PathLike[str]) -> list[int]:
    """Complete versions, ascending.

    A folder without a manifest is still being copied, and does not count.
    """
    return [
        number
        for number in _numbers(root)
        if (version_folder(root, number) / MANIFEST_NAME).is_file()
    ]


def find_version(root: str | os.PathLike[str], version: int | None) -> int:
    """Returns `version`, or the newest complete one for None.

    Raises:
        FolderError: if there is none.
    """
    versions = list_versions(root)
    if versions and version is None:
        return versions[-1]
    if version in versions:
        return version
    wanted = "a complete version" if version is None else f"version={version}"
    raise FolderError(
        f"{root} must hold {wanted} of an index. Received: "
        f"versions={versions}. Check the path, or build the index with "
        "`realm-tf index`."
    )


def next_version(root: str | os.PathLike[str]) -> int:
    """Number for the next version: above all that are there, in any state."""
    return max(_numbers(root), default=0) + 1


def remove_leftovers(root: str | os.PathLike[str]) -> None:
    """Removes what killed writers left; the caller holds the writer lock."""
    for leftover in pathlib.Path(root).glob(f".v*{TEMPORARY_MARK}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def prune(root: str | os.PathLike[str], keep: int) -> None:
    """Removes all but the `keep` newest complete versions.

    Whoever has an old version open goes on reading: its files live until they
    are closed.
    """
    for number in list_versions(root)[:-keep]:
        folder = version_folder(root, number)
        # Without its manifest a half-removed folder is no version any more.
        (folder / MANIFEST_NAME).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _numbers(root: str | os.PathLike[str]) -> list[int]:
    if not os.path.isdir(root):
        return []
    matches = (_NAME.fullmatch(name) for name in os.listdir(root))
    return sorted(int(match[1]) for match in matches if match)
