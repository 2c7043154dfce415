"""Draws what `benchmarks/pretraining.py` wrote.

    python benchmarks/pretraining_plot.py pretrained --output pretraining.png

Needs `pip install matplotlib`.
"""

import argparse
import json
import pathlib

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt

from realm_tf.training import read_log


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path, help="its output")
    parser.add_argument("--variant", default="salient-0", help="of the curves")
    parser.add_argument("--output", required=True, help="a picture file")
    args = parser.parse_args()
    figure, axes = plt.subplots(1, 4, figsize=(14, 3.2))
    draw_recall(axes[0], args.folder / "report.json")
    masked = args.folder / f"{args.variant}.training"
    draw_curve(axes[1], args.folder / "ict.training", "accuracy", "ICT")
    reading = args.folder / "read.training"
    draw_curve(axes[2], reading, "retrieval_utility", "reading mentions")
    draw_curve(axes[3], masked, "retrieval_utility", "masked words")
    figure.tight_layout()
    figure.savefig(args.output, dpi=100)


def draw_recall(axis: plt.Axes, path: pathlib.Path) -> None:
    rows = json.loads(path.read_text())
    names = [row["stage"].removesuffix(", seed 0") for row in rows]
    for k in rows[0]["recall"]:
        values = [row["recall"][k] for row in rows]
        axis.plot(names, values, "o", label=f"recall@{k}")
    axis.set(ylim=(0, 1), title="questions never trained on")
    axis.tick_params(axis="x", rotation=20)
    axis.legend()


def draw_curve(
    axis: plt.Axes, folder: pathlib.Path, name: str, stage: str
) -> None:
    log = [line for line in read_log(folder) if name in line]
    axis.plot([line["step"] for line in log], [line[name] for line in log])
    axis.set(title=f"{stage}: {name.replace('_', ' ')}", xlabel="step")


if __name__ == "__main__":
    main()
