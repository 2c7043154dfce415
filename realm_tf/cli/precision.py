"""Which floating-point type is faster on this machine."""

import functools
import time
from typing import Any

_SIZE = 384  # rows and columns, about the width of a small BERT
_SECONDS = 0.05
# A type that rounds more must be worth it.
_WORTHWHILE = 1.2


def choose_dtype(dtype: str) -> str:
    """Returns `dtype`, or for "auto" the faster of the two policies."""
    return _faster_policy() if dtype == "auto" else dtype


@functools.cache
def _faster_policy() -> str:
    # bfloat16 is emulated, and far slower, where the processor lacks it.
    float32, bfloat16 = seconds_per_product("float32", "bfloat16")
    return "mixed_bfloat16" if float32 > _WORTHWHILE * bfloat16 else "float32"


def seconds_per_product(*dtypes: str) -> list[float]:
    """Times a product of matrices in each type.

    Args:
        *dtypes: names of TensorFlow's types.

    Returns:
        Seconds of the fastest of some products, for each type; by turns, so
        that a busy machine slows all of them.
    """
    import tensorflow as tf

    matrices = [tf.ones([_SIZE, _SIZE], dtype) for dtype in dtypes]
    best = [float("inf")] * len(dtypes)
    for matrix in matrices:
        _seconds(tf.matmul, matrix)  # the first one also loads the kernel
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end or float("inf") in best:
        for i, matrix in enumerate(matrices):
            best[i] = min(best[i], _seconds(tf.matmul, matrix))
    return best


def _seconds(product: Any, matrix: Any) -> float:
    start = time.perf_counter()
    product(matrix, matrix).numpy()  # waits for the device
    return time.perf_counter() - start
