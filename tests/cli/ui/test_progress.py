import io
import pathlib
import re

import click
import pytest
import rich.console

import realm_tf
from realm_tf.cli.ui import progress
from realm_tf.cli.ui.options import Settings


@pytest.fixture
def show(monkeypatch):
    """Runs a function with a progress bar; returns what reached stderr."""

    def run(use, *, terminal=True, quiet=False):
        written = io.StringIO()
        console = rich.console.Console(
            file=written, force_terminal=terminal, width=120
        )
        monkeypatch.setattr(progress.console, "stderr", lambda: console)
        context = click.Context(click.Command("x"), obj=Settings(quiet=quiet))
        with context, progress.progress_bar("index") as bar:
            bar._start -= 10  # seconds
            use(bar)
            bar._progress.refresh()
        return written.getvalue()

    return run


def test_count_rate_and_share_are_shown(show):
    shown = show(lambda bar: bar.show("index", 3000, 6000, {}))
    assert "Building the index" in shown
    assert "3,000 blocks, 300/s" in shown or "3,000 blocks, 299/s" in shown
    assert "50%" in shown


def test_slow_steps_have_a_rate_with_a_decimal(show):
    assert "5 blocks, 0.5/s" in show(lambda bar: bar.show("index", 5, 10, {}))


def test_steps_of_a_run_that_was_stopped_are_not_in_the_rate(show):
    def use(bar):
        bar.show("reader", 81, 100, {})
        assert bar.done == 81
        bar._start -= 10
        bar.show("reader", 85, 100, {})

    assert "85 steps, 0.5/s" in show(use)


@pytest.mark.parametrize("done", [0, 5])
def test_total_that_is_not_known_has_no_share(show, done):
    shown = show(lambda bar: bar.show("index", done, 0, {}))
    assert f"{done} blocks" in shown
    assert "0%" in shown


def test_stages_follow_each_other(show):
    def use(bar):
        bar.show("index", 7, 7, {})
        bar._progress.refresh()
        bar.show("reader", 1, 4, {"loss": 2.5, "exact_match": 0.1})
        bar.show("reader", 2, 4, {"loss": 1.25, "index_age": 3})

    shown = show(use)
    assert "7 blocks" in shown
    last = shown[shown.rindex("Training the reader") :]
    assert "2 steps" in last
    assert "loss 1.250, index age 3.000" in last


def test_every_stage_of_the_library_has_a_text():
    source = pathlib.Path(realm_tf.__file__).parent
    used = {
        stage
        for path in source.rglob("*.py")
        for stage in re.findall(
            r'(?:[pP]rogress|ProgressCallback|bar\.show)\(\s*"(\w+)",',
            path.read_text("utf-8"),
        )
    }
    assert used >= {"corpus", "index", "pretraining", "questions", "tagger"}
    assert used <= set(progress._STAGES)


def test_nothing_is_shown_without_a_terminal(show):
    def use(bar):
        bar.show("index", 1, 2, {})

    assert show(use, terminal=False) == ""


def test_nothing_is_shown_if_quiet(show):
    assert show(lambda bar: bar.show("index", 1, 2, {}), quiet=True) == ""
