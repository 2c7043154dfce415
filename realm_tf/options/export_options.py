"""ExportOptions: which SavedModels are written, and how."""

import dataclasses
from typing import Literal

from realm_tf._constants import MODEL_NAMES
from realm_tf.options.field_rules import check_fields


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """Which SavedModels `RealmQA.export` writes, and how.

    Args:
        models: names of the models, with or without "realm_". Default: those
            of the query service. `realm_qa` answers from the corpus by itself;
            `realm_scann_qa` does so with ScaNN's operations, which no stock
            server has.
        num_answers: answers to a question, with the best one.
        storage: dtype of the embeddings inside `realm_qa`.
        jit_compile: compile the layers with XLA; servers then need
            `--xla_cpu_compilation_enabled=true`.
        server_path: absolute path or URI of the folder on the server. Default:
            the path on this machine.
    """

    models: tuple[str, ...] = MODEL_NAMES[:3]
    num_answers: int = 5
    storage: Literal["float32", "bfloat16"] = "float32"
    jit_compile: bool = False
    server_path: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        names = (f"realm_{name.removeprefix('realm_')}" for name in self.models)
        object.__setattr__(self, "models", tuple(dict.fromkeys(names)))
        unknown = [name for name in self.models if name not in MODEL_NAMES]
        if unknown or not self.models:
            raise ValueError(
                f"`models` must be among {', '.join(MODEL_NAMES)}. "
                f"Received: {', '.join(unknown) or 'none'}."
            )
        path = self.server_path
        if path is not None and path[:1] != "/" and "://" not in path:
            raise ValueError(
                "`server_path` must be absolute, as servers insist. "
                f"Received: server_path={path!r}."
            )
