import io

import click
import pytest
import rich.console

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
        with context, progress.progress_bar("Embedding", "blocks") as bar:
            bar._start -= 10  # seconds
            use(bar)
            bar._progress.refresh()
        return written.getvalue()

    return run


def test_update_shows_count_rate_and_share(show):
    shown = show(lambda bar: bar.update(3000, 0.5))
    assert "Embedding" in shown
    assert "3,000 blocks, 300/s" in shown or "3,000 blocks, 299/s" in shown
    assert "50%" in shown


def test_slow_steps_have_a_rate_with_a_decimal(show):
    assert "5 blocks, 0.5/s" in show(lambda bar: bar.count(5, 10))


def test_what_was_skipped_is_not_in_the_rate(show):
    def use(bar):
        assert bar.done == 0
        bar.skip(80)
        bar.update(85, 0.85)

    assert "85 blocks, 0.5/s" in show(use)


def test_count_of_nothing_is_shown(show):
    assert "0 blocks" in show(lambda bar: bar.count(0, 0))


def test_stages_follow_each_other(show):
    def use(bar):
        bar.show_stage("index", 7, 7, {})
        bar._progress.refresh()
        bar.show_stage("reader", 1, 4, {"loss": 2.5, "exact_match": 0.1})
        bar.show_stage("reader", 2, 4, {"loss": 1.25})

    shown = show(use)
    assert "7 blocks" in shown
    last = shown[shown.rindex("Training the reader") :]
    assert "2 steps" in last
    assert "loss 1.250" in last


def test_nothing_is_shown_without_a_terminal(show):
    assert show(lambda bar: bar.count(1, 2), terminal=False) == ""


def test_nothing_is_shown_if_quiet(show):
    assert show(lambda bar: bar.count(1, 2), quiet=True) == ""
