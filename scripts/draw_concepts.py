"""Draws the pictures of `docs/concepts`: the parts of REALM, and its folders.

    python scripts/draw_concepts.py docs

Text stays text in the SVG files, so that it is searched and read aloud.
"""

import argparse
import pathlib

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

INK, MODEL, DATA = "#333333", "#d9e6f7", "#f6ead2"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    # The same bytes in every run of one version of Matplotlib.
    plt.rcParams["svg.hashsalt"] = "realm_tf"
    plt.rcParams["svg.fonttype"] = "none"
    plt.rcParams["font.family"] = "sans-serif"
    for name, draw in (("parts", draw_parts), ("folders", draw_folders)):
        figure, axes = plt.subplots(figsize=(9, 3.8))
        axes.set(xlim=(0, 9), ylim=(0, 3.8))
        axes.axis("off")
        draw(axes)
        figure.savefig(
            folder / f"{name}.svg",
            bbox_inches="tight",
            facecolor="white",
            metadata={"Date": None, "Creator": None},
        )
        plt.close(figure)


def box(axes, x, y, text, color, width=1.7, height=0.8):
    """A box around its middle, with a text."""
    corner = (x - width / 2, y - height / 2)
    axes.add_patch(
        plt.Rectangle(
            corner, width, height, facecolor=color, edgecolor=INK, linewidth=1
        )
    )
    axes.text(x, y, text, ha="center", va="center", fontsize=10, color=INK)


def arrow(axes, start, end, text=""):
    """An arrow from point to point, with a text over its middle."""
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": INK})
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    axes.text(x, y + 0.08, text, ha="center", fontsize=9, color=INK)


def draw_parts(axes) -> None:
    """From a question and a corpus to an answer."""
    box(axes, 0.9, 2.9, "question x", DATA)
    box(axes, 0.9, 0.8, "corpus\nof blocks z", DATA)
    box(axes, 3.1, 2.9, "embedder\nof questions", MODEL)
    box(axes, 3.1, 0.8, "embedder\nof blocks", MODEL)
    box(axes, 5.3, 0.8, "index\nof embeddings", DATA)
    box(axes, 5.3, 2.9, "retriever\np(z given x)", MODEL)
    box(axes, 7.7, 2.9, "reader, or encoder\np(y given z, x)", MODEL, 2.1)
    box(axes, 7.7, 0.8, "answer y, or masked\nwords, with block z", DATA, 2.1)
    arrow(axes, (1.75, 2.9), (2.25, 2.9))
    arrow(axes, (1.75, 0.8), (2.25, 0.8))
    arrow(axes, (3.95, 2.9), (4.45, 2.9))
    arrow(axes, (3.95, 0.8), (4.45, 0.8))
    arrow(axes, (5.3, 1.2), (5.3, 2.5))
    axes.text(5.4, 1.85, "search", fontsize=9, color=INK)
    arrow(axes, (6.15, 2.9), (6.65, 2.9))
    axes.text(6.4, 3.45, "best blocks", ha="center", fontsize=9, color=INK)
    arrow(axes, (7.7, 2.5), (7.7, 1.2))


def draw_folders(axes) -> None:
    """Which folder is made of which."""
    box(axes, 0.9, 2.9, "documents", DATA)
    box(axes, 0.9, 0.8, "questions\nwith answers", DATA)
    box(axes, 3.1, 2.9, "corpus/", DATA)
    box(axes, 3.1, 0.8, "preset/", MODEL)
    box(axes, 5.5, 2.9, "index/", DATA)
    box(axes, 5.5, 0.8, "bundle/", MODEL)
    box(axes, 7.9, 0.8, "query service", MODEL)
    arrow(axes, (1.75, 2.9), (2.25, 2.9), "cut")
    arrow(axes, (1.75, 0.8), (2.25, 0.8), "fit")
    arrow(axes, (3.95, 2.9), (4.65, 2.9), "embed")
    arrow(axes, (3.1, 1.2), (4.65, 2.55))
    arrow(axes, (3.95, 0.8), (4.65, 0.8), "export")
    arrow(axes, (5.5, 2.5), (5.5, 1.2))
    axes.text(5.6, 1.85, "copied into", fontsize=9, color=INK)
    arrow(axes, (6.35, 0.8), (7.05, 0.8), "serve")


if __name__ == "__main__":
    main()
