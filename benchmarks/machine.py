"""What a benchmark ran on and how much memory it took."""

import os
import pathlib
import platform
import resource

import keras
import tensorflow as tf


def describe() -> str:
    """Processor, devices and versions, in a line."""
    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    processors = f"{len(os.sched_getaffinity(0))} x {_processor()}"
    versions = f"TensorFlow {tf.__version__}, Keras {keras.__version__}"
    return ", ".join([processors, *gpus, versions])


def _processor() -> str:
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def memory_mb() -> float:
    """Resident memory of this process now, mapped files included."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def peak_memory_mb() -> float:
    """Most resident memory of this process, or of a child if that had more."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(w).ru_maxrss for w in who) / 1e3
