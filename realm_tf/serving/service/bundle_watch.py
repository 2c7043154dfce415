"""BundleWatch: follows new exports to a bundle that is served."""

import os

from realm_tf.serving.bundle import read_bundle


class BundleWatch:
    """Knows the newest export.

    May be used by many threads.

    Args:
        folder: the bundle.

    Attributes:
        newest: `Bundle` of the last look.

    Raises:
        FolderError: if it is none.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.newest = read_bundle(folder)
        self._first = self.newest

    @property
    def problem(self) -> str:
        """Why documents cannot be cut as the models read them, or ""."""
        of_texts = ("tokenizer_fingerprint", "featurizer")
        if all(
            getattr(self.newest, name) == getattr(self._first, name)
            for name in of_texts
        ):
            return ""
        return (
            "The bundle was re-exported with another tokenizer. Restart "
            "the service."
        )

    def look(self) -> None:
        """Rereads bundle.json.

        Raises:
            FolderError: if it is damaged.
        """
        self.newest = read_bundle(self._first.path)
