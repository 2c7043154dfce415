"""Times of works that take turns, and the matrix products they are made of."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Work = Callable[[], Any]


def in_turns(works: Mapping[str, Work], num_turns: int) -> dict[str, float]:
    """Median seconds of each work.

    In each turn every work is done once, in the opposite order of the turn
    before, so that another program on the machine slows all of them. Do each
    work once before, or the first turn compiles.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(num_turns):
        names = list(works) if turn % 2 == 0 else list(works)[::-1]
        for name in names:
            start = time.perf_counter()
            works[name]()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(row) for name, row in seconds.items()}


def fastest(works: Sequence[Work], count: int) -> list[float]:
    """Seconds of the fastest of `count` calls of each, made in turn.

    The first call of each, which compiles, is left out.
    """
    for work in works:
        work()
    seconds = []
    for _ in range(count):
        row = []
        for work in works:
            start = time.perf_counter()
            work()
            row.append(time.perf_counter() - start)
        seconds.append(row)
    return [min(column) for column in zip(*seconds, strict=True)]


def matmul_rate(dtype: str) -> float:
    """Floating-point operations a second of one large product."""
    import tensorflow as tf

    size = 2048
    half = {"mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}
    x = tf.cast(tf.random.normal((size, size)), half.get(dtype, dtype))
    product = tf.function(lambda: tf.linalg.matmul(x, x))
    return 2 * size**3 / fastest([lambda: product().numpy()], 10)[0]


def products(layers: int, width: int, rows: int, length: int) -> int:
    """Multiplications of a backbone: four projections, two wide, attention.

    Look-ups of tables and the pooler are left out.
    """
    tokens = rows * length
    dense = 4 * width * width + 2 * width * 4 * width
    return layers * (tokens * dense + 2 * tokens * length * width)
