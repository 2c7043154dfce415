"""What a benchmark ran on and how much memory it took."""

import importlib.metadata
import os
import pathlib
import platform
import resource
from collections.abc import Sequence

# What decides how fast matrix products are, as Linux calls it.
_FLAGS = {
    "AVX2": "avx2",
    "AVX-512": "avx512f",
    "bfloat16 by AVX-512": "avx512_bf16",
    "bfloat16 by AMX": "amx_bf16",
}


def describe() -> str:
    """Processor, devices and versions, in a line."""
    import tensorflow as tf

    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    versions = describe_versions(["tensorflow", "keras"])
    return ", ".join([describe_processor(), *gpus, versions])


def describe_processor() -> str:
    """How many processors, which, and what they have, without TensorFlow."""
    count = len(os.sched_getaffinity(0))
    own = set(_cpuinfo("flags").split())
    flags = [name for name, flag in _FLAGS.items() if flag in own]
    name = _cpuinfo("model name") or platform.machine()
    return f"{count} x {name} ({', '.join(flags) or 'no AVX2'})"


def describe_versions(packages: Sequence[str]) -> str:
    """Installed version of each package."""
    versions = []
    for package in packages:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "not installed"
        versions.append(f"{package} {version}")
    return ", ".join(versions)


def _cpuinfo(field: str) -> str:
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(field):
            return line.split(":", 1)[1].strip()
    return ""


def memory_mb() -> float:
    """Resident memory of this process now, mapped files included."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def peak_memory_mb() -> float:
    """Most resident memory of this process, or of a child if that had more."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(w).ru_maxrss for w in who) / 1e3
