import logging

import keras

from realm_tf.models.keras_display import print_line, progress_bar


def test_a_line_is_printed_or_logged(capsys, caplog):
    caplog.set_level(logging.INFO)
    print_line("done")
    assert capsys.readouterr().out == "done\n"
    keras.config.disable_interactive_logging()
    try:
        print_line("done")
    finally:
        keras.config.enable_interactive_logging()
    assert capsys.readouterr().out == ""
    assert caplog.messages == ["done"]


def test_a_bar_counts_units(capsys):
    for verbose in (0, 2):
        progress_bar(verbose, "block")("index", 1, 2, {})
        assert capsys.readouterr().out == ""
    show = progress_bar("auto", "block")
    show("index", 1, 2, {})
    show("index", 2, 2, {})
    assert "1/2" in (out := capsys.readouterr().out) and "2/2" in out


def test_a_bar_shows_figures(capsys):
    progress_bar(1, "step")("reader", 2, 2, {"loss": 0.5})
    assert "loss: 0.5" in capsys.readouterr().out
