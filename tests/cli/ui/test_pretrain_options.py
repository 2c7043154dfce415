import click
import click.testing

from realm_tf.cli.ui import pretrain_options


def test_options_reach_the_command(corpus, tiny_bert, tmp_path):
    seen = {}

    @click.command()
    @pretrain_options.shared
    @pretrain_options.ict
    def command(**options):
        seen.update(options)

    result = click.testing.CliRunner().invoke(
        command,
        ["--bert", str(tiny_bert), "--corpus", str(corpus), "-o", "x"],
    )
    assert result.exit_code == 0, result.output
    assert seen["bert"] == tiny_bert
    assert seen["mask_rate"] == 0.9
    assert seen["chunk_size"] is None
    assert seen["deterministic"] is False


def test_every_option_has_a_text():
    @click.command()
    @pretrain_options.shared
    @pretrain_options.mlm
    def command(**options):
        pass

    assert len(command.params) > 20
    assert all(option.help for option in command.params)
