"""ScannOptions: how a ScaNN index is built and searched."""

import dataclasses
import math

from realm_tf.options.field_rules import check_fields, limited

_MIN_BLOCKS = 16  # 4-bit codes


@dataclasses.dataclass(frozen=True)
class ScannOptions:
    """Parameters of the ScaNN tree and its asymmetric hashing.

    `resolve` replaces None by a value for the number of blocks.

    Args:
        num_leaves: partitions of the tree. Default: square root of the number
            of blocks.
        leaves_to_search: partitions that a query visits. Default: a fifth of
            all (ORQA: 100 of 1000, without exact scores).
        dimensions_per_block: dimensions that share one 4-bit code; 2 as in
            ORQA.
        anisotropic_threshold: weight of errors along an embedding against
            errors across it, as a cosine (Guo et al., 2020, arXiv:1908.10396);
            scaled by the norm of the embeddings. 0.2 as in ScaNN's examples.
        training_sample_size: blocks that centroids and codes are learned from.
        candidates_per_result: blocks scored exactly for each one returned;
            at least 100 blocks are scored for each query.
    """

    num_leaves: int | None = None
    leaves_to_search: int | None = None
    dimensions_per_block: int = 2
    anisotropic_threshold: float = limited(0.2, least=0)
    training_sample_size: int = 100_000
    candidates_per_result: int = 4

    def __post_init__(self) -> None:
        check_fields(self)
        if self.anisotropic_threshold >= 1:
            raise ValueError(
                "`anisotropic_threshold` must be below 1. Received: "
                f"anisotropic_threshold={self.anisotropic_threshold}. Leave it "
                "out for 0.2."
            )

    def resolve(self, num_blocks: int) -> "ScannOptions":
        """Fills in what depends on the number of blocks, and checks it.

        Raises:
            ValueError: if `num_blocks` cannot be partitioned as wanted.
        """
        if num_blocks < _MIN_BLOCKS:
            raise ValueError(
                f"ScaNN needs {_MIN_BLOCKS} blocks or more to learn its codes. "
                f"Received: num_blocks={num_blocks}. Use "
                "searcher='brute_force'."
            )
        num_leaves = self.num_leaves or max(1, round(math.sqrt(num_blocks)))
        if num_leaves > num_blocks:
            raise ValueError(
                "`num_leaves` must not exceed the number of blocks. Received: "
                f"num_leaves={num_leaves}, num_blocks={num_blocks}. Lower it, "
                "or use searcher='brute_force'."
            )
        leaves_to_search = self.leaves_to_search or -(-num_leaves // 5)
        if leaves_to_search > num_leaves:
            raise ValueError(
                "`leaves_to_search` must not exceed `num_leaves`. Received: "
                f"leaves_to_search={leaves_to_search}, num_leaves={num_leaves}."
            )
        return dataclasses.replace(
            self, num_leaves=num_leaves, leaves_to_search=leaves_to_search
        )
