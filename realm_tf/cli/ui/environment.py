"""TensorFlow, prepared before it is imported."""

import importlib.util
import os

import click

from realm_tf.cli.ui.options import Settings


def prepare_tensorflow() -> None:
    """Makes Keras run on TensorFlow, without TensorFlow's own log lines.

    To be called before the first import of TensorFlow, by the commands that
    need it; the others work in any environment.

    Raises:
        ClickException: if the environment asks for something else.
        ModuleNotFoundError: if TensorFlow is not installed.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise ModuleNotFoundError(name="tensorflow")
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend != "tensorflow":
        raise click.ClickException(
            "This command needs Keras on TensorFlow. Received: "
            f"KERAS_BACKEND={backend}. Unset KERAS_BACKEND, or set it to "
            "tensorflow."
        )
    legacy = os.environ.get("TF_USE_LEGACY_KERAS", "")
    if legacy.lower() in ("1", "true"):
        raise click.ClickException(
            "This command needs Keras 3. Received: TF_USE_LEGACY_KERAS="
            f"{legacy}, which asks for Keras 2. Unset TF_USE_LEGACY_KERAS."
        )
    # Else a configuration file in the home folder could name another one.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if not click.get_current_context().ensure_object(Settings).debug:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
