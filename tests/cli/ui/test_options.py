import click
import pytest

from realm_tf.cli import main
from realm_tf.cli.ui import options


def commands(group=main, path=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands())


def test_the_commands_are_those_promised():
    assert {" ".join(path) for path in COMMANDS} == {
        "ask",
        "calibrate",
        "corpus build",
        "corpus info",
        "corpus verify",
        "demo",
        "evaluate",
        "export",
        "export-checkpoint",
        "finetune",
        "import",
        "index add",
        "index build",
        "index compact",
        "index delete",
        "index info",
        "index rollback",
        "index verify",
        "plan",
        "presets",
        "pretrain ict",
        "pretrain mlm",
        "questions",
        "refresh",
        "reproduce",
        "serve",
        "spans",
        "train-tagger",
    }


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_explains_every_option_and_has_examples(path, run):
    text = run(*path, "--help").stdout
    assert f"realm-tf {' '.join(path)}" in text[text.index("Examples:") :]
    for parameter in COMMANDS[path].params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, parameter.name
    assert "--quiet" in text and "--debug" in text
    # A service has no result to print.
    assert "--json" in text or path == ("serve",)


def test_settings_are_remembered_wherever_they_are_given():
    @click.command()
    @options.shared_options
    @click.pass_obj
    def command(settings):
        return settings

    settings = options.Settings()
    command.main(["-q", "--debug"], obj=settings, standalone_mode=False)
    assert settings == options.Settings(quiet=True, debug=True)
    settings = options.Settings()
    command.main([], obj=settings, standalone_mode=False)
    assert settings == options.Settings()
