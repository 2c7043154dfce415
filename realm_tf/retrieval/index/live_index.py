"""LiveIndex: the index in use, replaced while others search it."""

import threading
from typing import TYPE_CHECKING

from realm_tf.errors import MismatchError
from realm_tf.retrieval.index import index_versions
from realm_tf.retrieval.index.block_index import BlockIndex

if TYPE_CHECKING:
    from realm_tf.data.corpus.corpus import Corpus


class LiveIndex:
    """Gives many threads the index of the moment.

    Whoever acquired an index goes on with it after a swap: vectors and texts
    come from one version. Its memory is freed when the last one drops it.

    Args:
        index: `BlockIndex` to begin with.

    Example:
    ```python
    live = LiveIndex(BlockIndex.open("index", corpus))
    index = live.acquire()  # once per request
    blocks = index.blocks(index.search(queries, k=5).block_ids[0])
    live.reload()  # elsewhere, once a new version may be there
    ```
    """

    def __init__(self, index: BlockIndex):
        self._index = index
        self._lock = threading.Lock()

    def acquire(self) -> BlockIndex:
        """Returns the index in use; keep it for one request."""
        return self._index

    def swap(self, index: BlockIndex) -> None:
        """Puts another index in use, at once for all that acquire later.

        Raises:
            MismatchError: if its width is another; the old index stays.
        """
        width = self._index.embedding_dim
        if index.embedding_dim != width:
            raise MismatchError(
                "`index` must be as wide as the index in use. Received: "
                f"embedding_dim={index.embedding_dim}, in use: {width}. Build "
                "it with the block embedder that belongs to the model."
            )
        self._index = index

    def reload(
        self,
        corpus: "Corpus | None" = None,
        *,
        embedder_fingerprint: str | None = None,
    ) -> bool:
        """Opens the newest version, if it is newer, and swaps to it.

        Args:
            corpus: `Corpus` of the newest version; default: the one in use.
            embedder_fingerprint: see `BlockIndex.open`.

        Returns:
            Whether there was a newer version.

        Raises:
            FolderError: if the newest version is damaged.
            MismatchError: if it belongs to another corpus or embedder. The old
                index stays after any error.
        """
        with self._lock:
            old = self._index
            newest = index_versions.find_version(old.path, None)
            if newest <= old.version:
                return False
            index = BlockIndex.open(
                old.path,
                corpus or old.corpus,
                version=newest,
                embedder_fingerprint=embedder_fingerprint,
            )
            self.swap(index)
            return True
