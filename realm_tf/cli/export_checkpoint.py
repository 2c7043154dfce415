"""realm-tf export-checkpoint: a preset back to a published layout."""

import pathlib

import click

from realm_tf.cli.ui import options
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.tables import folder_bytes, show_facts

_LAYOUTS = (
    "RealmForOpenQA",
    "RealmScorer",
    "RealmEmbedder",
    "RealmReader",
    "RealmKnowledgeAugEncoder",
    "orqa",
    "embedder",
    "bert",
)


@click.command(
    name="export-checkpoint",
    epilog=options.examples(
        "realm-tf export-checkpoint --preset preset --output openqa \\",
        "    --layout RealmForOpenQA",
    ),
)
@options.preset_option()
@click.option(
    "--output", "-o", required=True, type=options.NEW_PATH, help="New folder."
)
@click.option(
    "--layout",
    required=True,
    type=click.Choice(_LAYOUTS),
    help="A model class of Hugging Face, or a TF1 checkpoint.",
)
@options.json_option()
@options.shared_options
def export_checkpoint(
    preset: pathlib.Path, output: pathlib.Path, layout: str, as_json: bool
) -> None:
    """Writes a model in the layout of the published checkpoints.

    An import of the result has the same weights, bit for bit.
    """
    prepare_tensorflow()
    from realm_tf.checkpoints.exporting import export_preset

    export_preset(preset, output, layout)
    show_facts(
        {
            "output": str(output),
            "layout": layout,
            "bytes": folder_bytes(output),
        },
        as_json,
    )
