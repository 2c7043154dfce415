"""realm-tf presets: the finished presets, with their figures."""

import click

from realm_tf.cli.ui import console, options


@click.command(epilog=options.examples("realm-tf presets"))
@options.json_option()
@options.shared_options
def presets(as_json: bool) -> None:
    """Lists the presets that have a name, which `--preset` takes."""
    from realm_tf.checkpoints.named_presets import PRESETS

    for name, preset in PRESETS.items():
        facts = {
            "name": name,
            "description": preset.description,
            "megabytes": preset.megabytes,
            "licence": preset.licence,
            "figures": preset.figures,
        }
        if as_json:
            console.print_json(facts)
        else:
            for key, value in facts.items():
                click.echo(f"{key:12} {value}")
