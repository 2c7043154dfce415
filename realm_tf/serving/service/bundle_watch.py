"""BundleWatch: follows new exports to a bundle that is served."""

import os

from realm_tf.serving.bundle import Bundle, read_bundle

_PAIRS_KEPT = 2  # while a model server turns from one export to the next


class BundleWatch:
    """Knows which embedder and reader were exported together.

    May be used by many threads.

    Args:
        folder: the bundle.

    Raises:
        FolderError: if it is none.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.bundle = read_bundle(folder)
        self._newest = self.bundle
        self._pairs: tuple[tuple[str, str], ...] = (_pair(self.bundle),)
        self._lexical_weights: dict[str, float] = {}
        self._keep_weight()

    @property
    def problem(self) -> str:
        """Why documents cannot be cut as the models read them, or ""."""
        of_texts = ("tokenizer_fingerprint", "featurizer")
        if all(
            getattr(self._newest, name) == getattr(self.bundle, name)
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
        self._newest = read_bundle(self.bundle.path)
        pair = _pair(self._newest)
        others = tuple(known for known in self._pairs if known != pair)
        self._pairs = (*others, pair)[-_PAIRS_KEPT:]
        self._keep_weight()

    def lexical_weight(self, embedder: str) -> float:
        """Weight of words of the last export of an embedder."""
        return self._lexical_weights.get(embedder, 0.0)

    def _keep_weight(self) -> None:
        newest = self._newest
        self._lexical_weights[newest.embedder_fingerprint] = (
            newest.lexical_weight
        )

    def is_pair(self, embedder: str, reader: str) -> bool:
        """Whether two fingerprints are of one export, one of the last two."""
        return (embedder, reader) in self._pairs


def _pair(bundle: Bundle) -> tuple[str, str]:
    return bundle.embedder_fingerprint, bundle.reader_fingerprint
