"""models.config, batching.config, monitoring.config of TensorFlow Serving.

scann_models.config names the model with ScaNN's operations alone: a stock
server fails to load it, and takes the others down with it.
"""

import json
import pathlib
from collections.abc import Iterable

from realm_tf import _files
from realm_tf.serving.bundle import QA, SCANN_QA

MODELS_CONFIG = "models.config"
SCANN_MODELS_CONFIG = "scann_models.config"
BATCHING_CONFIG = "batching.config"
MONITORING_CONFIG = "monitoring.config"
CONFIG_NAMES = (
    MODELS_CONFIG,
    SCANN_MODELS_CONFIG,
    BATCHING_CONFIG,
    MONITORING_CONFIG,
)
XLA_FLAG = "--xla_cpu_compilation_enabled=true"
"""What a server must be started with for graphs that insist on XLA."""

# Models that a client joins to an index stay loaded in two versions, so that
# it can use the old ones until it has opened the new index.
_NUM_VERSIONS = 2
_ALONE = (QA, SCANN_QA)

_MODEL = """\
  config {{
    name: {name}
    base_path: {path}
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: {num_versions} }} }}
  }}
"""
# Requests that wait while others are computed share the next batch; none waits
# for others to come. A request of more rows than a batch would be refused. The
# reader's requests must all hold as many blocks: the server refuses to join
# others, and would pad them with copies of the first block if it were asked to.
_BATCHING = """\
max_batch_size { value: 256 }
batch_timeout_micros { value: 0 }
max_enqueued_batches { value: 1000 }
num_batch_threads { value: 4 }
pad_variable_length_inputs: false
"""
_MONITORING = """\
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""


def write_server_configs(
    folder: pathlib.Path, models: Iterable[str], server_path: str | None
) -> None:
    """Writes the files.

    Args:
        folder: the bundle.
        models: names.
        server_path: where the server sees the bundle; default: where it is
            here. Servers insist on absolute paths.
    """
    base = server_path or str(folder.resolve())
    names = set(models)
    texts = {
        MODELS_CONFIG: _models_config(names - {SCANN_QA}, base),
        BATCHING_CONFIG: _BATCHING,
        MONITORING_CONFIG: _MONITORING,
    }
    if SCANN_QA in names:
        texts[SCANN_MODELS_CONFIG] = _models_config({SCANN_QA}, base)
    for name, text in texts.items():
        _files.replace_file(folder / name, text)


def _models_config(models: Iterable[str], base: str) -> str:
    configs = "".join(
        _MODEL.format(
            name=json.dumps(name),
            path=json.dumps(f"{base.rstrip('/')}/{name}", ensure_ascii=False),
            num_versions=1 if name in _ALONE else _NUM_VERSIONS,
        )
        for name in sorted(models)
    )
    return f"model_config_list {{\n{configs}}}\n"
