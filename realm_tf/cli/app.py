"""realm-tf: its commands, its exit codes and its error messages."""

import traceback
from typing import Any

import click

from realm_tf import _version
from realm_tf.cli.ask import ask
from realm_tf.cli.calibrate import calibrate
from realm_tf.cli.corpus import corpus
from realm_tf.cli.demo import demo
from realm_tf.cli.evaluate import evaluate
from realm_tf.cli.export import export
from realm_tf.cli.export_checkpoint import export_checkpoint
from realm_tf.cli.import_checkpoint import import_checkpoint
from realm_tf.cli.index import index
from realm_tf.cli.plan import plan
from realm_tf.cli.presets import presets
from realm_tf.cli.questions import questions
from realm_tf.cli.reproduce import reproduce
from realm_tf.cli.serve import serve
from realm_tf.cli.training.finetune import finetune
from realm_tf.cli.training.pretrain import pretrain
from realm_tf.cli.training.refresh import refresh
from realm_tf.cli.training.spans import spans
from realm_tf.cli.training.train_tagger import train_tagger
from realm_tf.cli.ui import console
from realm_tf.cli.ui.options import Settings, examples

_FAILURE = 1
_MISSING_PACKAGE = 2
_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class _App(click.Group):
    """A group whose errors are one message each.

    Exit codes: 0 success, 1 failure, 2 wrong use or a missing package, 130
    interrupted.
    """

    def invoke(self, ctx: click.Context) -> Any:
        ctx.obj = settings = Settings()
        with console.readable_output():
            try:
                return super().invoke(ctx)
            except (click.Abort, KeyboardInterrupt):
                console.print_note("Interrupted.")
                code = _INTERRUPTED
            except (click.ClickException, click.exceptions.Exit):
                raise  # click prints these, and knows their codes
            except BrokenPipeError:
                raise  # who read the output went away; click ends quietly
            except Exception as error:
                if settings.debug:
                    traceback.print_exc()
                console.print_error(
                    _with_advice(error), self._options(ctx.invoked_subcommand)
                )
                code = _FAILURE
                if isinstance(error, ModuleNotFoundError):
                    code = _MISSING_PACKAGE
        ctx.exit(code)

    def _options(self, name: str | None) -> set[str]:
        """Options of a command; of a group, those of its commands."""
        command = self.commands.get(name or "")
        if command is None:
            return set()
        within = getattr(command, "commands", {"": command}).values()
        return {
            option for one in within for p in one.params for option in p.opts
        }


def _with_advice(error: Exception) -> Exception:
    """A missing package is named with the command that installs it."""
    if not isinstance(error, ModuleNotFoundError) or "pip" in str(error):
        return error
    return ImportError(
        f"This command needs TensorFlow and Keras. Received: {error.name} is "
        "not installed. Install them with `pip install 'realm-tf[tf]'`."
    )


@click.group(
    cls=_App,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "realm-tf demo",
        "realm-tf corpus build passages.jsonl.gz --output corpus",
        "realm-tf finetune --bert bert --corpus corpus --train qa.jsonl "
        "--output preset",
        'realm-tf ask --preset preset "Who wrote Emma?"',
    ),
)
@click.version_option(_version.__version__, prog_name="realm-tf")
def main() -> None:
    """Answers questions from your own documents, with the evidence."""


_COMMANDS = (
    ask,
    calibrate,
    corpus,
    demo,
    evaluate,
    export,
    export_checkpoint,
    finetune,
    import_checkpoint,
    index,
    plan,
    presets,
    pretrain,
    questions,
    refresh,
    reproduce,
    serve,
    spans,
    train_tagger,
)
for _command in _COMMANDS:
    main.add_command(_command)
