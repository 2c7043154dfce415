"""The place of a new preset, checked before anything is trained."""

import pathlib
import tempfile

import click

from realm_tf._manifest import read_manifest


def check_output(output: pathlib.Path, overwrite: bool) -> None:
    """Fails now rather than when everything is trained.

    Raises:
        UsageError: if there is something that may not be replaced.
        FolderError: if what would be replaced is no preset.
    """
    if output.exists() and not overwrite:
        raise click.UsageError(
            f"{output} exists. Add --overwrite to replace it."
        )
    if output.exists():
        read_manifest(output, "preset", verify=False)
    output.parent.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=output.parent).close()
