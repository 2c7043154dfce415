"""Versions of an index folder: names, order, publishing.

    index/v000001/  index/v000001.updates  index/v000002/ ...

Versions are ordered by number, never by time, and a number is used once.
"""

import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterable

from realm_tf._files import TEMPORARY_MARK, remove_leftover
from realm_tf._manifest import (
    MANIFEST_NAME,
    FolderWriter,
    read_manifest,
    write_folder,
)
from realm_tf.errors import FolderError
from realm_tf.retrieval.index.journal import Journal

# The one in use, one that readers may still hold, one to roll back to.
KEEP = 3
KIND = "index"
_NAME = re.compile(r"v(\d{6,})")


def version_folder(root: str | os.PathLike[str], version: int) -> pathlib.Path:
    """Where a version is, or would be."""
    return pathlib.Path(root) / f"v{version:06d}"


def updates_file(root: str | os.PathLike[str], version: int) -> pathlib.Path:
    """Where the updates of a version are."""
    return pathlib.Path(root) / f"v{version:06d}.updates"


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
    """Removes files of killed writers; the caller holds the writer lock."""
    for leftover in pathlib.Path(root).glob(f".v*{TEMPORARY_MARK}*"):
        remove_leftover(leftover)
    complete = list_versions(root)
    for number in _numbers(root):
        # A newer folder without a manifest may be a copy that still runs.
        if complete and number < complete[-1] and number not in complete:
            _remove(root, number)


def prune(root: str | os.PathLike[str]) -> None:
    """Removes all but the three newest complete versions.

    Readers of an old version keep their files: the files live until they
    are closed.
    """
    for number in list_versions(root)[:-KEEP]:
        _remove(root, number)


def publish(
    root: pathlib.Path,
    fill: Callable[[FolderWriter], None],
    updates: Iterable[bytes] = (),
) -> int:
    """Writes the next version; the caller holds the writer lock.

    Args:
        root: the index folder.
        fill: writes files and description into a temporary folder.
        updates: records of its journal.

    Returns:
        Number of the new version.
    """
    remove_leftovers(root)
    version = next_version(root)
    folder = version_folder(root, version)
    journal = updates_file(root, version)
    try:
        with write_folder(folder, KIND) as writer:
            fill(writer)
            manifest = writer.finish()
            # Before the version appears: it is not complete without.
            Journal.create(journal, manifest.fingerprint, updates)
    finally:
        if not folder.exists():
            journal.unlink(missing_ok=True)
    prune(root)
    return version


def republish(root: pathlib.Path, version: int) -> int:
    """Republishes a version, with its updates, as the newest.

    The caller holds the writer lock.
    """
    return copy_version(root, version, root)


def copy_version(
    source: pathlib.Path,
    version: int,
    root: pathlib.Path,
    later_updates: Iterable[bytes] = (),
) -> int:
    """Publishes a version of one index, with its updates, in another.

    Files are linked where the file system can. The caller holds the writer
    lock of `root`.

    Args:
        source: index folder.
        version: number in `source`.
        root: the other index folder.
        later_updates: records of the journal that follow those of `source`.

    Returns:
        Number of the new version.
    """
    folder = version_folder(source, find_version(source, version))
    manifest = read_manifest(folder, KIND)

    def fill(writer: FolderWriter) -> None:
        for name in manifest.files:
            link_or_copy(folder / name, writer.path / name)
        writer.describe(
            counts=manifest.counts,
            fingerprints=manifest.fingerprints,
            options=manifest.options,
        )

    updates = read_updates(
        source, version, manifest.fingerprint, accept_old=True
    )
    return publish(root, fill, [*updates, *later_updates])


def read_updates(
    root: str | os.PathLike[str],
    version: int,
    belongs_to: str,
    *,
    accept_old: bool = False,
) -> list[bytes]:
    """Records of the journal of a version; see `Journal`."""
    path = updates_file(root, version)
    return Journal(path, belongs_to, accept_old=accept_old).records()


def _remove(root: str | os.PathLike[str], version: int) -> None:
    folder = version_folder(root, version)
    # Without its manifest a half-removed folder is no version any more.
    (folder / MANIFEST_NAME).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    updates_file(root, version).unlink(missing_ok=True)


def link_or_copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """Makes `target` the same file, or a copy where that cannot be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def numbers(names: Iterable[str]) -> list[int]:
    """Numbers of the folders of versions among names, ascending."""
    matches = (_NAME.fullmatch(name) for name in names)
    return sorted(int(match[1]) for match in matches if match)


def _numbers(root: str | os.PathLike[str]) -> list[int]:
    return numbers(os.listdir(root)) if os.path.isdir(root) else []
