import click
import pytest

from realm_tf.cli.ui.output import check_output
from realm_tf.errors import FolderError


def test_new_place_is_made(tmp_path):
    check_output(tmp_path / "a" / "preset", overwrite=False)
    assert list((tmp_path / "a").iterdir()) == []


def test_what_is_there_is_replaced_only_if_told(preset, tmp_path):
    with pytest.raises(click.UsageError, match="--overwrite"):
        check_output(preset, overwrite=False)
    check_output(preset, overwrite=True)
    with pytest.raises(FolderError):
        check_output(tmp_path, overwrite=True)
