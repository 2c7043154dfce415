r"""Builds the ScaNN index that stands beside the exported models.

python export/build_scann_index.py --preset preset --corpus corpus \
    --output index

Then export with it: `realm-tf export --preset preset --corpus corpus
--index index --output exported`.
"""

import argparse

from realm_tf import RealmQA


def main() -> None:
    """Embeds the corpus and builds the index."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", required=True)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument(
        "--searcher", default="scann", choices=["scann", "brute_force", "auto"]
    )
    parser.add_argument("--recall-floor", type=float, default=0.9)
    arguments = parser.parse_args()
    qa = RealmQA.from_preset(arguments.preset)
    index = qa.build_index(
        arguments.corpus,
        arguments.output,
        searcher=arguments.searcher,
        recall_floor=arguments.recall_floor,
    )
    recall = index.manifest.options.get("searcher_recall")
    print(f"{index.folder}: {index.num_blocks} blocks, recall {recall}")


if __name__ == "__main__":
    main()
