"""manifest.json: what a folder holds, and how a folder is published.

A folder is written under a temporary name beside its place, described by a
manifest, synced, and renamed. A folder without a valid manifest does not exist
for readers, so a killed writer leaves nothing that could be read. A folder that
replaces another one changes names with it, in one step. Readers open all files
of a folder before they use one, so they have those of one folder.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import logging
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import realm_tf._version as _version
from realm_tf._files import (
    OpenFile,
    explain_full_disk,
    naming,
    read_file,
    sync,
)
from realm_tf._replacement import (
    make_temporary,
    publish,
    read_whole,
    tidy,
)
from realm_tf.errors import FolderError

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
_CHECKSUM = "sha256"  # of everything else in the manifest
_MAX_MANIFEST_BYTES = 64 * 2**20
_MAX_COUNT = 2**48
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)


@dataclasses.dataclass(frozen=True)
class FileEntry:
    """Size in bytes and SHA-256 of one file."""

    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The description of a folder.

    Args:
        kind: what the folder is: "corpus", "index" or "preset".
        counts: numbers of things, such as `num_blocks`.
        fingerprints: identities of what the folder was made from.
        options: how it was made; free-form JSON values.
        files: relative path -> `FileEntry` of every file of the folder.
        library_version: the realm_tf that wrote it.
        format_version: integer, raised when older readers would misread.
    """

    kind: str
    counts: dict[str, int]
    fingerprints: dict[str, str]
    options: dict[str, Any]
    files: dict[str, FileEntry]
    library_version: str = _version.__version__
    format_version: int = FORMAT_VERSION

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the content: equal folders have equal fingerprints."""
        content = dataclasses.asdict(self)
        del content["library_version"]
        return json_sha256(content)


class FolderWriter:
    """A folder that is being written: files under `path`, a description."""

    def __init__(self, path: pathlib.Path, kind: str):
        self.path = path
        self.kind = kind
        self._counts: dict[str, int] = {}
        self._fingerprints: dict[str, str] = {}
        self._options: dict[str, Any] = {}
        self._manifest: Manifest | None = None

    def describe(
        self,
        *,
        counts: dict[str, int] | None = None,
        fingerprints: dict[str, str] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        """Sets the description in the manifest, beside the list of files."""
        self._counts = counts or {}
        self._fingerprints = fingerprints or {}
        self._options = options or {}

    def finish(self) -> Manifest:
        """Writes the manifest and syncs, so that only the rename is left.

        Happens by itself when the context ends, if not before.

        Returns:
            `Manifest`, as readers will read it.
        """
        if self._manifest is not None:
            return self._manifest
        files = {
            name: _entry(self.path / name) for name in own_files(self.path)
        }
        manifest = Manifest(
            kind=self.kind,
            counts=self._counts,
            fingerprints=self._fingerprints,
            options=self._options,
            files=files,
        )
        content = dataclasses.asdict(manifest)
        content[_CHECKSUM] = json_sha256(content)
        target = self.path / MANIFEST_NAME
        text = json.dumps(content, indent=1, sort_keys=True)
        target.write_text(text + "\n", encoding="utf-8")
        # Never publish what cannot be read.
        parsed = _parse(self.path, self.kind)
        sync(target)
        for folder, _, _ in os.walk(self.path):
            sync(pathlib.Path(folder))
        self._manifest = parsed
        return parsed


@contextlib.contextmanager
def write_folder(
    path: str | os.PathLike[str], kind: str, *, overwrite: bool = False
) -> Iterator[FolderWriter]:
    """Writes a whole folder or nothing.

    Args:
        path: where the folder will be.
        kind: what the folder is, see `Manifest`.
        overwrite: replace a folder of the same kind that is there already.

    Yields:
        `FolderWriter`; its `path` is a temporary folder beside `path`.

    Raises:
        FolderError: if `path` exists and may not be replaced.
        OSError: if the disk is full, with the number of free bytes.
    """
    path = pathlib.Path(os.path.realpath(path))
    tidy(path)
    _check_free(path, kind, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, descriptor = make_temporary(path)
    advice = "Nothing was kept. Free some space and retry."
    try:
        with explain_full_disk(path, advice), naming(path):
            writer = FolderWriter(temporary, kind)
            yield writer
            writer.finish()
            _check_free(path, kind, overwrite)
            publish(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(descriptor)


class OpenFolder:
    """A folder whose files are open, and of which no other can come between.

    Made by `open_folder`.

    Attributes:
        path: the folder.
        manifest: `Manifest`.
        files: relative path -> `OpenFile`, of all files in the manifest.
    """

    def __init__(self, path: pathlib.Path, manifest: Manifest):
        self.path = path
        self.manifest = manifest
        root = os.path.realpath(path)
        self.files: dict[str, OpenFile] = {}
        for name, entry in manifest.files.items():
            file = path / name
            if not pathlib.Path(os.path.realpath(file)).is_relative_to(root):
                raise _outside(name, path)
            try:
                opened = self.files[name] = OpenFile(file)
            except OSError as error:
                if error.errno not in _NO_FILE:
                    raise
                raise _damaged(file, "the file", "nothing") from error
            if opened.size() != entry.size:
                raise _damaged(
                    file, f"{entry.size} bytes", f"{opened.size()} bytes"
                )

    def verify(self) -> None:
        """Compares the SHA-256 of every file with the manifest.

        Raises:
            FolderError: naming the first file that differs.
        """
        for name, entry in self.manifest.files.items():
            with self.files[name].reader() as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != entry.sha256:
                raise _damaged(
                    self.path / name,
                    f"sha256={entry.sha256[:16]}",
                    f"sha256={found[:16]}",
                )

    def check_in_place(self) -> None:
        """Checks that the names still lead to these files, unchanged.

        For what other libraries have read by name.

        Raises:
            FolderError: naming a file that is another one now.
        """
        for opened in self.files.values():
            other = OpenFile(opened.path)
            opened.check_is(other.descriptor)
            opened.check_unchanged()


def open_folder(
    path: str | os.PathLike[str], kind: str, *, verify: bool = True
) -> OpenFolder:
    """Opens all files of a folder; see `read_manifest`."""
    path = pathlib.Path(path)
    folder = read_whole(path, lambda: OpenFolder(path, _parse(path, kind)))
    if verify:
        folder.verify()
    extra = sorted(set(own_files(path)) - set(folder.manifest.files))
    if extra:
        logger.warning(
            "%s holds files its manifest does not list; ignored: %s",
            path,
            ", ".join(extra[:5]),
        )
    return folder


def read_manifest(
    path: str | os.PathLike[str], kind: str, *, verify: bool = True
) -> Manifest:
    """Reads and checks the manifest of a folder.

    Args:
        path: the folder.
        kind: what the folder must be.
        verify: compare the SHA-256 of every file too, not sizes only.

    Returns:
        `Manifest`.

    Raises:
        FolderError: naming the file that is missing, damaged or not allowed.
    """
    return open_folder(path, kind, verify=verify).manifest


def verify_files(
    path: pathlib.Path, manifest: Manifest, *, hashes: bool = True
) -> None:
    """Compares the files of a folder with its manifest; see `read_manifest`."""
    folder = OpenFolder(path, manifest)
    if hashes:
        folder.verify()


def own_files(path: pathlib.Path) -> list[str]:
    """Sorted relative paths of a folder's files, without the manifest.

    A sub-folder with a manifest of its own, or with versions that have one,
    describes itself.
    """
    names = []
    for parent, folders, files in os.walk(path):
        here = pathlib.Path(parent)
        folders[:] = [f for f in folders if not _describes_itself(here / f)]
        names += [(here / f).relative_to(path).as_posix() for f in files]
    return sorted(set(names) - {MANIFEST_NAME})


def _describes_itself(folder: pathlib.Path) -> bool:
    # An index changes, its versions do not: its lock and journals are not
    # those of the preset it is in.
    return any(folder.glob(MANIFEST_NAME)) or any(
        folder.glob(f"*/{MANIFEST_NAME}")
    )


def file_sha256(path: pathlib.Path) -> str:
    """SHA-256 of a file, read in parts."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _entry(path: pathlib.Path) -> FileEntry:
    sync(path)
    return FileEntry(path.stat().st_size, file_sha256(path))


def json_sha256(content: dict[str, Any]) -> str:
    """SHA-256 of JSON values, whatever their order in a file."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _check_free(path: pathlib.Path, kind: str, overwrite: bool) -> None:
    if not path.exists():
        return
    if not overwrite:
        raise FolderError(
            f"The {kind} must be written to a path that does not exist yet. "
            f"Received: {path}. Choose another path, or remove that folder."
        )
    if path.is_dir() and not any(path.iterdir()):
        return
    _parse(path, kind)  # never replace something that is not ours


def _parse(path: pathlib.Path, kind: str) -> Manifest:
    file = path / MANIFEST_NAME
    try:
        data = read_file(file, _MAX_MANIFEST_BYTES)
        content = json.loads(data)
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
        raise FolderError(
            f"The {kind} must be a folder with a {MANIFEST_NAME}. Received: "
            f"{path}, which has none. Check the path; a writer that was "
            "stopped leaves no manifest, so rebuild the folder."
        ) from error
    except FolderError:
        raise
    except (ValueError, RecursionError) as error:
        raise _damaged(file, "valid JSON", str(error)) from error
    if not isinstance(content, dict):
        raise _damaged(file, "a JSON object", type(content).__name__)
    version = content.get("format_version")
    if type(version) is not int or version < 1:
        raise _damaged(file, "an integer format_version", repr(version))
    if version > FORMAT_VERSION:
        raise FolderError(
            f"{file} must have a format this realm_tf "
            f"{_version.__version__} reads (up to {FORMAT_VERSION}). Received: "
            f"format_version={version}, written by realm_tf "
            f"{content.get('library_version')}. Upgrade realm_tf."
        )
    if content.get("kind") != kind:
        raise FolderError(
            f"{path} must be of kind {kind!r}. Received: "
            f"kind={content.get('kind')!r}. Check the path."
        )
    return _checked(file, content)


def _checked(file: pathlib.Path, content: dict[str, Any]) -> Manifest:
    checksum = content.pop(_CHECKSUM, None)
    if checksum != (found := json_sha256(content)):
        raise _damaged(file, f"{_CHECKSUM}={checksum!r}", repr(found))
    names = {field.name for field in dataclasses.fields(Manifest)}
    if set(content) != names:
        raise _damaged(file, f"the keys {sorted(names)}", f"{sorted(content)}")
    for key in ("counts", "fingerprints", "options", "files"):
        if not isinstance(content[key], dict):
            raise _damaged(file, f"an object under {key!r}", repr(content[key]))
    for name, count in content["counts"].items():
        if type(count) is not int or not 0 <= count <= _MAX_COUNT:
            raise _damaged(file, f"a count under {name!r}", repr(count))
    for name, value in content["fingerprints"].items():
        if not isinstance(value, str):
            raise _damaged(file, f"a string under {name!r}", repr(value))
    files = {
        name: _checked_entry(file, name, entry)
        for name, entry in content["files"].items()
    }
    return Manifest(**{**content, "files": files})


def _checked_entry(file: pathlib.Path, name: str, entry: Any) -> FileEntry:
    pure = pathlib.PurePosixPath(name)
    if (
        pure.is_absolute()
        or ".." in pure.parts
        or "\\" in name
        or not name.isprintable()  # NUL, lone surrogates
    ):
        raise _outside(name, file)
    if (
        not isinstance(entry, dict)
        or set(entry) != {"size", "sha256"}
        or type(entry["size"]) is not int
        or not isinstance(entry["sha256"], str)
    ):
        raise _damaged(file, f"size and sha256 of {name!r}", repr(entry))
    return FileEntry(**entry)


def _outside(name: str, where: pathlib.Path) -> FolderError:
    return FolderError(
        "A manifest may name files of its own folder only. Received: "
        f"{name!r} in {where}. Take the folder from a source you trust."
    )


def _damaged(file: pathlib.Path, expected: str, found: str) -> FolderError:
    return FolderError(
        f"{file} must hold what its manifest says. Expected: {expected}. "
        f"Received: {found}. Copy the folder again, or rebuild it."
    )
