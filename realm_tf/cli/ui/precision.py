"""Which floating-point type suits this machine."""

import pathlib

# A processor without them emulates bfloat16, which is far slower; with them
# MiniLM embeds 1.4 times as many wordpieces a second as in float32.
_PROCESSOR_FLAGS = {"avx512_bf16", "amx_bf16"}
_COMPUTE_CAPABILITY = (8, 0)  # of GPUs with bfloat16
_CPUINFO = pathlib.Path("/proc/cpuinfo")


def choose_dtype(dtype: str) -> str:
    """Returns `dtype`, or for "auto" the policy that suits the hardware.

    It asks what the hardware can do and measures nothing: on a busy machine a
    measurement would differ from run to run, and answers with it.
    """
    if dtype != "auto":
        return dtype
    return "mixed_bfloat16" if _has_bfloat16() else "float32"


def _has_bfloat16() -> bool:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        capability = details.get("compute_capability", (0, 0))
        return capability >= _COMPUTE_CAPABILITY
    try:
        words = _CPUINFO.read_text(encoding="utf-8").split()
    except OSError:  # not Linux
        return False
    return not _PROCESSOR_FLAGS.isdisjoint(words)
