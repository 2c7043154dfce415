"""Checkpoint: a foreign checkpoint as our parts, with a report."""

import dataclasses
import os
import pathlib

from realm_tf import _manifest
from realm_tf._files import check_disk_space
from realm_tf.checkpoints import presets
from realm_tf.checkpoints.files.tensor_file import TensorFile
from realm_tf.checkpoints.presets import Parts

CARD_NAME = "README.md"
_BYTES_OF_A_WEIGHT = 4


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """The embeddings of a corpus in a checkpoint, still on the disk.

    Args:
        file: `TensorFile`.
        name: of the array `(num_blocks, embedding_dim)`.
    """

    file: TensorFile
    name: str

    @property
    def num_blocks(self) -> int:
        """Number of rows."""
        return self.file.shapes[self.name][0]


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a foreign checkpoint held.

    Args:
        source: where it was.
        format: name of its layout.
        parts: our parts, filled.
        used: names of the variables that were used.
        skipped: name -> why a variable was skipped.
        initial: our variables that it does not have.
        notes: what a user should know.
        embeddings: `Embeddings` of a corpus, if there are any.
        records: file of the blocks of that corpus, if there is one.
    """

    source: str
    format: str
    parts: Parts
    used: tuple[str, ...]
    skipped: dict[str, str]
    initial: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    embeddings: Embeddings | None = None
    records: pathlib.Path | None = None

    def save(
        self, path: str | os.PathLike[str], *, overwrite: bool = False
    ) -> None:
        """Writes a preset folder, with a model card.

        Args:
            path: the new folder.
            overwrite: replace a preset that is there.

        Raises:
            FolderError: if `path` exists and may not be replaced.
            OSError: if there is no room for it; nothing is kept.
        """
        layers = self.parts.layers.values()
        num_weights = sum(layer.count_params() for layer in layers)
        check_disk_space(path, num_weights * _BYTES_OF_A_WEIGHT)
        with _manifest.write_folder(
            path, presets.KIND, overwrite=overwrite
        ) as writer:
            presets.write_preset(writer.path, self.parts)
            (writer.path / CARD_NAME).write_text(self.card(), "utf-8")
            writer.describe(
                fingerprints={"tokenizer": self.parts.featurizer.fingerprint},
                options={"format": self.format, "source": self.source},
            )

    def card(self) -> str:
        """A model card, in Markdown."""
        reasons: dict[str, int] = {}
        for why in self.skipped.values():
            reasons[why] = reasons.get(why, 0) + 1
        lines = [
            f"# Imported from {self.source}",
            "",
            f"Layout: {self.format}. Variables used: {len(self.used)}, left "
            f"out: {len(self.skipped)}, new: {len(self.initial)}.",
            "",
            *(f"- {name}" for name in self.parts.layers),
            *(f"- skipped, {why}: {n}" for why, n in reasons.items()),
            *(f"- new: {name}" for name in self.initial),
            *(f"- {note}" for note in self.notes),
            "",
            "The licence is that of the source.",
        ]
        return "\n".join(lines) + "\n"
