"""bundle.json: what an exported folder holds, and which parts go together.

bundle.json         which versions belong together, with its own checksum;
                    replaced as a whole
vocabulary.txt
realm_NAME/N/       SavedModels, numbered as TensorFlow Serving expects
models.config  scann_models.config  batching.config  monitoring.config
corpus/  index/     optional; they describe themselves
"""

import dataclasses
import json
import math
import os
import pathlib
import re
from typing import TYPE_CHECKING, Any

from realm_tf import _files, _version
from realm_tf._constants import MODEL_NAMES
from realm_tf._manifest import json_sha256
from realm_tf.errors import FolderError, MismatchError

if TYPE_CHECKING:  # reading bundle.json takes no TensorFlow
    from realm_tf.data.text.featurizer import Featurizer

KIND = "bundle"
FORMAT_VERSION = 3  # 1 had no checksum, 2 no lexical weight
BUNDLE_NAME = "bundle.json"
QUERY_EMBEDDER, BLOCK_EMBEDDER, READER, QA, SCANN_QA = MODEL_NAMES

_CHECKSUM = "sha256"  # of everything else in bundle.json
_MAX_BYTES = 2**20
_MAX_VOCABULARY_BYTES = 2**26
_COUNTS = ("num_read", "num_answers", "max_span_width", "embedding_dim")
_FINGERPRINTS = ("embedder", "reader", "tokenizer")
# One name in the folder: neither hidden nor a path.
_ENTRY_NAME = re.compile(r"\w[\w.-]*", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Bundle:
    """Parts of an exported folder that were made for one another.

    Args:
        path: the folder.
        featurizer: settings of `Featurizer`, without the vocabulary.
        num_read: blocks read for a question, unless asked otherwise.
        num_answers: answers that the reader returns.
        max_span_width: longest answer, in wordpieces.
        embedding_dim: width of the embeddings.
        lexical_weight: weight of BM25 in the score of a block; see
            `BlockIndex.search`.
        embedder_fingerprint: of the block embedder, which the index shares.
        reader_fingerprint: of the reader's weights and tokenizer.
        tokenizer_fingerprint: of `Featurizer`.
        models: name -> number of the version, all exported.
        vocabulary: file name of the vocabulary.
        corpus: name of the corpus folder, if there is one.
        index: name of the index folder, if there is one.
        library_version: the realm_tf that wrote it.
    """

    path: pathlib.Path
    featurizer: dict[str, Any]
    num_read: int
    num_answers: int
    max_span_width: int
    embedding_dim: int
    embedder_fingerprint: str
    reader_fingerprint: str
    tokenizer_fingerprint: str
    models: dict[str, int]
    lexical_weight: float = 0.0
    vocabulary: str = "vocabulary.txt"
    corpus: str | None = None
    index: str | None = None
    library_version: str = _version.__version__

    @property
    def vocabulary_path(self) -> pathlib.Path:
        """One wordpiece a line."""
        return self.path / self.vocabulary

    def open_featurizer(self) -> "Featurizer":
        """The tokenizer that the models were exported with.

        Raises:
            FolderError: if the vocabulary is missing or another one.
        """
        from realm_tf.data.text.featurizer import Featurizer

        file = self.vocabulary_path
        try:
            data = _files.read_file(file, _MAX_VOCABULARY_BYTES)
            words = data.decode().rstrip("\n").split("\n")
            featurizer = Featurizer(words, **self.featurizer)
        except FolderError:
            raise
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            raise _damaged(file, str(error)) from error
        if featurizer.fingerprint != self.tokenizer_fingerprint:
            raise _damaged(
                file,
                f"fingerprint={featurizer.fingerprint[:16]}, expected "
                f"{self.tokenizer_fingerprint[:16]}",
            )
        return featurizer

    @property
    def corpus_path(self) -> pathlib.Path | None:
        """Folder of the `Corpus`."""
        return self.path / self.corpus if self.corpus else None

    @property
    def index_path(self) -> pathlib.Path | None:
        """Folder of the `BlockIndex`."""
        return self.path / self.index if self.index else None

    def check_pair(self, embedder: str, reader: str) -> None:
        """Checks the fingerprints of two models that answered together.

        Raises:
            MismatchError: if they are not those of this export.
        """
        wanted = (self.embedder_fingerprint, self.reader_fingerprint)
        if (embedder, reader) != wanted:
            raise MismatchError(
                "Embedder and reader must be of one export. Received:\n"
                f"  embedder={embedder[:16]}, expected {wanted[0][:16]}\n"
                f"  reader={reader[:16]}, expected {wanted[1][:16]}\n"
                f"Let the model server load the models of {self.path}."
            )

    def model_path(self, name: str) -> pathlib.Path:
        """SavedModel of the version that belongs to the bundle.

        Raises:
            FolderError: if the bundle has no such model.
        """
        if name not in self.models:
            raise FolderError(
                f"{self.path} must hold the model {name!r}. Received: "
                f"{', '.join(self.models)}. Export it with `realm-tf export "
                "--models`."
            )
        return model_folder(self.path, name) / str(self.models[name])


def model_folder(path: str | os.PathLike[str], name: str) -> pathlib.Path:
    """Where the versions of a model are: its `base_path`."""
    return pathlib.Path(path) / name


def model_numbers(path: str | os.PathLike[str], name: str) -> list[int]:
    """Numbers that are taken, ascending, whatever is under them."""
    folder = model_folder(path, name)
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(int(n) for n in names if n.isascii() and n.isdecimal())


def write_bundle(bundle: Bundle) -> None:
    """Replaces bundle.json as a whole; readers see the old or the new."""
    content = dataclasses.asdict(bundle)
    del content["path"]
    content |= {"kind": KIND, "format_version": FORMAT_VERSION}
    content[_CHECKSUM] = json_sha256(content)
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    _files.replace_file(bundle.path / BUNDLE_NAME, text)


def read_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Reads bundle.json.

    Args:
        path: the exported folder.

    Returns:
        `Bundle`.

    Raises:
        FolderError: if the folder is no bundle, or of a newer format.
    """
    path = pathlib.Path(path)
    file = path / BUNDLE_NAME
    try:
        content = json.loads(_files.read_file(file, _MAX_BYTES))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FolderError(
            f"A bundle must be a folder with {BUNDLE_NAME}. Received: {path}, "
            "which has none. Write it with `realm-tf export`."
        ) from error
    except FolderError:
        raise
    except (ValueError, RecursionError) as error:
        raise _damaged(file, str(error)) from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise _damaged(file, "JSON of another kind")
    checksum = content.pop(_CHECKSUM, None)
    found = json_sha256(content)
    del content["kind"]
    version = content.pop("format_version", None)
    if type(version) is not int or version < 1:
        raise _damaged(file, f"format_version={version!r}")
    if version > FORMAT_VERSION:
        raise FolderError(
            f"{file} must have a format this realm_tf {_version.__version__} "
            f"reads (up to {FORMAT_VERSION}). Received: format_version="
            f"{version}, written by realm_tf "
            f"{content.get('library_version')}. Upgrade realm_tf."
        )
    if version > 1 and checksum != found:
        raise _damaged(file, f"{_CHECKSUM}={found!r}, expected {checksum!r}")
    if version < 3:
        content.setdefault("lexical_weight", 0.0)
    return _checked(path, file, content)


def _checked(
    path: pathlib.Path, file: pathlib.Path, content: dict[str, Any]
) -> Bundle:
    names = {field.name for field in dataclasses.fields(Bundle)} - {"path"}
    if set(content) != names:
        differ = sorted(set(content) ^ names)
        raise _damaged(file, f"missing or unknown keys {differ}")
    for name in _COUNTS:
        if type(content[name]) is not int or content[name] < 1:
            raise _damaged(file, f"{name}={content[name]!r}")
    weight = content["lexical_weight"]
    if type(weight) not in (int, float) or not math.isfinite(weight):
        raise _damaged(file, f"lexical_weight={weight!r}")
    for name in (f"{part}_fingerprint" for part in _FINGERPRINTS):
        if not isinstance(content[name], str):
            raise _damaged(file, f"{name}={content[name]!r}")
    for name in ("vocabulary", "corpus", "index"):
        value = content[name]
        if value is None and name != "vocabulary":
            continue
        if not isinstance(value, str) or not _ENTRY_NAME.fullmatch(value):
            raise _damaged(file, f"{name}={value!r}")
    models = content["models"]
    if (
        not isinstance(models, dict)
        or not set(models) <= set(MODEL_NAMES)
        or any(type(n) is not int or n < 1 for n in models.values())
    ):
        raise _damaged(file, f"models={models!r:.200}")
    if not isinstance(content["featurizer"], dict):
        raise _damaged(file, f"featurizer={content['featurizer']!r:.200}")
    return Bundle(path=path, **content)


def _damaged(file: pathlib.Path, found: str) -> FolderError:
    return FolderError(
        f"{file} must hold what `realm-tf export` writes. Received: {found}. "
        "Export again, or copy the folder again."
    )
