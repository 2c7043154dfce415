"""TrainingOptions: steps and learning rate of a pre-training stage."""

import dataclasses

from realm_tf.options.field_rules import check_fields, limited


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """Steps, learning rate, log and checkpoints of a pre-training stage.

    Args:
        num_steps: training steps; the learning rate is 0 after the last.
        learning_rate: peak learning rate. Published: 1e-4 for the Inverse
            Cloze Task, 3e-5 for masked tokens.
        num_warmup_steps: steps until the peak learning rate. Default: a tenth
            of all steps, from 100 to 10,000.
        bias_correction: correct Adam's moments for their start at 0. The
            published optimizer does not, and its first steps are large: turn
            it on for runs of some hundred steps.
        checkpoint_every: steps between checkpoints; a multiple of `log_every`.
        log_every: steps whose figures are averaged in a line of the log.
    """

    num_steps: int = 100_000
    learning_rate: float = 1e-4
    num_warmup_steps: int | None = limited(None, least=0)
    bias_correction: bool = False
    checkpoint_every: int = 500
    log_every: int = 50

    def __post_init__(self) -> None:
        check_fields(self)
        if self.checkpoint_every % self.log_every:
            raise ValueError(
                "`checkpoint_every` must be a multiple of `log_every`, so that "
                "a resumed run logs what an unbroken one does. Received: "
                f"checkpoint_every={self.checkpoint_every}, "
                f"log_every={self.log_every}."
            )
