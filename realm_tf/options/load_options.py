"""LoadOptions: what a checkpoint cannot tell of itself."""

import dataclasses
import pathlib
from typing import Any

from realm_tf.options.field_rules import check_fields, limited


@dataclasses.dataclass(frozen=True)
class LoadOptions:
    """What a checkpoint cannot tell of itself.

    Args:
        num_heads: attention heads of the backbones. Default: the number in the
            configuration, or one for each 64 of the width.
        vocabulary: file with one wordpiece a line, for a checkpoint without.
        dropout: dropout rate in training. Default: the rate in the
            configuration, or 0.1.
        dtype: dtype policy of the backbones.
        partial: accept a checkpoint with missing or unused variables, which
            `Checkpoint.initial` and `Checkpoint.skipped` list.
    """

    num_heads: int | None = None
    vocabulary: pathlib.Path | None = None
    dropout: float | None = limited(None, least=0, most=1)
    dtype: Any = None
    partial: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
