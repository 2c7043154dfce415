"""What to do when a training step does not fit on the device."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def explain_out_of_memory(sizes: dict[str, int]) -> Iterator[None]:
    """Turns TensorFlow's error of a full device into one that helps.

    Args:
        sizes: what decides how much memory a step needs, by the name of the
            option.

    Raises:
        MemoryError: in place of `ResourceExhaustedError`.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        received = ", ".join(f"{name}={value}" for name, value in sizes.items())
        reason = (error.message or "no reason").splitlines()[0]
        raise MemoryError(
            "A training step did not fit in the memory of the device, with "
            f"{received} ({reason:.200}). Lower one of the numbers, the batch "
            "size first, or compute in half precision, such as mixed_bfloat16."
        ) from error
