"""IndexPlan: the memory and disk of an index, known before it is built."""

import dataclasses
import os

from realm_tf._files import free_bytes
from realm_tf._resources import memory_bytes, require
from realm_tf.options import ScannOptions
from realm_tf.retrieval.searchers.embedding_matrix import STORED_DTYPES

# Bytes, as `benchmarks/plan.py` measures them. For each value, which is a
# dimension of a block: while ScaNN makes codes, while it learns, while it is
# searched, and on the disk; codes of 2 dimensions.
_SCANN_CODING = 12.5
_SCANN_LEARNING = 4
_SCANN_SERVING = 2.5
_SCANN_DISK = 0.5
_SCANN_LEAF = 1800  # for each dimension of a leaf, while it learns
_SCANN_DIM = 2_200_000  # for each dimension, while it learns
_SCANN_BLOCK = 8  # the leaf of a block, and what is kept for it
_PROCESS = 120_000_000  # the one that builds
_LEXICAL_BUILD = 600_000_000  # buffers of its writer
_LEXICAL_DISK = 1.3  # for a wordpiece


@dataclasses.dataclass(frozen=True)
class IndexPlan:
    """What the index of `num_blocks` blocks takes, in bytes.

    The memory is that of the index alone: TensorFlow and the model come on
    top. Embeddings and words are read from the disk as they are needed, and
    are not counted as memory; searches are slow where the system cannot keep
    them there.

    Args:
        num_blocks: number of blocks.
        embedding_dim: width of the embeddings.
        searcher: "brute_force" or "scann".
        dtype: type of the stored embeddings, "float32" or "bfloat16".
        wordpieces: mean number of wordpieces of a block; 0 without a lexical
            part.
        scann: `ScannOptions`.

    Example:
    >>> plan = IndexPlan(13_353_718, 128, "scann", "bfloat16", wordpieces=0)
    >>> round(plan.embedding_bytes / 1e9, 1)
    3.4
    """

    num_blocks: int
    embedding_dim: int
    searcher: str
    dtype: str
    wordpieces: float
    scann: ScannOptions = ScannOptions()

    def __post_init__(self) -> None:
        if self.num_blocks < 1:
            raise ValueError(
                "`num_blocks` must be positive. Received: "
                f"num_blocks={self.num_blocks}. Pass the size of the corpus."
            )

    @property
    def embedding_bytes(self) -> int:
        """Disk of the embeddings."""
        size = STORED_DTYPES[self.dtype].itemsize
        return self._values * size

    @property
    def scann_bytes(self) -> int:
        """Disk of ScaNN's codes."""
        if self.searcher != "scann":
            return 0
        codes = _SCANN_DISK * self._values * self._codes_per_pair
        return int(codes) + _SCANN_BLOCK * self.num_blocks

    @property
    def lexical_bytes(self) -> int:
        """Disk of the lexical part."""
        return int(_LEXICAL_DISK * self.wordpieces * self.num_blocks)

    @property
    def disk_bytes(self) -> int:
        """Disk of one version of the index."""
        return self.embedding_bytes + self.scann_bytes + self.lexical_bytes

    @property
    def build_memory(self) -> int:
        """Memory at the peak of the build."""
        lexical = _LEXICAL_BUILD if self.wordpieces else 0
        if self.searcher != "scann":
            return lexical
        leaves = self.scann.resolve(self.num_blocks).num_leaves or 1
        learning = _SCANN_LEARNING * self._values + self.embedding_dim * (
            _SCANN_LEAF * leaves + _SCANN_DIM
        )
        coding = _SCANN_CODING * self._values
        return max(_PROCESS + int(max(learning, coding)), lexical)

    @property
    def serving_memory(self) -> int:
        """Memory while it is searched."""
        if self.searcher != "scann":
            return 0
        codes = _SCANN_SERVING * self._values * self._codes_per_pair
        return int(codes) + _SCANN_BLOCK * self.num_blocks

    def check(self, path: str | os.PathLike[str]) -> None:
        """Checks that the build fits into memory and on the disk.

        Args:
            path: the index folder.

        Raises:
            ResourceError: if it does not.
        """
        size = f"{self.num_blocks:,} blocks of {self.embedding_dim} dimensions"
        require(
            "memory",
            self.build_memory,
            memory_bytes(),
            task=f"A ScaNN index of {size}",
            advice="Use fewer dimensions, searcher='brute_force', or a machine "
            "with more memory",
        )
        require(
            "free disk",
            self.disk_bytes,
            free_bytes(path),
            task=f"An index of {size}",
            advice="Free some space, use fewer dimensions, or store bfloat16",
        )

    @property
    def _values(self) -> int:
        # Python's integers: NumPy's would wrap around without a word.
        return int(self.num_blocks) * int(self.embedding_dim)

    @property
    def _codes_per_pair(self) -> float:
        """Codes for two dimensions; 1 as in ORQA."""
        return 2 / self.scann.dimensions_per_block
