"""RefreshOptions: how the index follows the weights in training."""

import dataclasses
from typing import Literal

from realm_tf.options.field_rules import check_fields


@dataclasses.dataclass(frozen=True)
class RefreshOptions:
    """When and where `IndexRefresh` builds the index again.

    Args:
        every_n_steps: steps between two refreshes of the index. The default is
            that of the paper (section 4.5).
        mode: where the index is refreshed. "sync": in the training process,
            which stops meanwhile; every run is the same. "background": in a
            child process beside the training. "external": by
            `realm-tf refresh --watch` on another machine.
        max_staleness_steps: oldest index to train with, in steps; with
            on_stale="wait" at least `every_n_steps`. Default: any age.
        on_stale: what to do when the index is too old: "wait" for the next
            one, "warn", or "stop" the training.
        timeout: seconds to wait for an index before an error. Default: wait
            for ever.
    """

    every_n_steps: int = 500
    mode: Literal["sync", "background", "external"] = "sync"
    max_staleness_steps: int | None = None
    on_stale: Literal["wait", "warn", "stop"] = "wait"
    timeout: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        most = self.max_staleness_steps
        if (
            self.on_stale == "wait"
            and most is not None
            and most < self.every_n_steps
        ):
            raise ValueError(
                "`max_staleness_steps` must be `every_n_steps` or more with "
                'on_stale="wait": no newer index comes before. Received: '
                f"max_staleness_steps={most}, "
                f"every_n_steps={self.every_n_steps}. Refresh more often."
            )
