"""realm-tf spans: the names, dates and numbers of a corpus."""

import pathlib
from typing import TYPE_CHECKING

import click

from realm_tf.cli.ui import options
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.precision import choose_dtype
from realm_tf.cli.ui.progress import progress_bar
from realm_tf.cli.ui.tables import show_facts

if TYPE_CHECKING:
    from realm_tf.data.spans.span_tagger import SpanTagger


@click.command(
    epilog=options.examples(
        "realm-tf spans --corpus corpus",
        "realm-tf spans --corpus corpus --tagger tagger",
        "realm-tf spans --corpus corpus --records wikipedia_annotated-*",
    )
)
@options.corpus_option()
@click.option(
    "--tagger",
    type=options.FOLDER,
    help="A tagger of names that `realm-tf train-tagger` wrote.",
)
@click.option("--spacy", help="Name or path of a spaCy pipeline.")
@click.option(
    "--records",
    multiple=True,
    type=options.FILE,
    help="Take spans from TFRecords of salient_span_wikipedia; tag nothing.",
)
@click.option(
    "--skip-bad",
    is_flag=True,
    help="Skip the rest of a damaged file of --records.",
)
@click.option(
    "--rules/--no-rules",
    default=True,
    show_default=True,
    help="Also find dates and numbers by rule.",
)
@click.option(
    "--output",
    "-o",
    type=options.NEW_PATH,
    help="Folder to write. Default: CORPUS.spans.",
)
@click.option("--overwrite", is_flag=True, help="Replace spans there.")
@options.dtype_option()
@options.json_option()
@options.shared_options
def spans(
    corpus: pathlib.Path,
    tagger: pathlib.Path | None,
    spacy: str | None,
    records: tuple[pathlib.Path, ...],
    skip_bad: bool,
    rules: bool,
    output: pathlib.Path | None,
    overwrite: bool,
    dtype: str,
    as_json: bool,
) -> None:
    """Finds the salient spans of a corpus, which pre-training masks.

    Without a tagger, the salient spans are dates and numbers.
    """
    if records and (tagger or spacy):
        raise click.UsageError("Give either --records or a tagger.")
    prepare_tensorflow()
    from realm_tf.data.corpus.corpus import Corpus
    from realm_tf.data.spans.salient_spans import default_path, tag_corpus

    opened = Corpus.open(corpus)
    path = output or default_path(corpus)
    if path.exists() and not overwrite:
        raise click.UsageError(f"{path} exists. Add --overwrite to replace it.")
    if records:
        from realm_tf.data.published.published_spans import (
            import_annotated_spans,
        )

        written = import_annotated_spans(
            records, opened, path, overwrite=overwrite, skip_bad=skip_bad
        )
    else:
        chosen = _tagger(tagger, spacy, rules, choose_dtype(dtype))
        with progress_bar("spans") as bar:
            written = tag_corpus(
                opened, chosen, path, overwrite=overwrite, progress=bar.show
            )
    facts = {
        "spans": str(path),
        "num_blocks": opened.num_blocks,
        "num_tagged_blocks": len(written.tagged_blocks()),
        "num_spans": written.num_spans,
        "labels": written.count_labels(),
    }
    show_facts(facts, as_json)


def _tagger(
    folder: pathlib.Path | None, spacy: str | None, rules: bool, dtype: str
) -> "SpanTagger":
    from realm_tf.data.spans.combined_tagger import CombinedTagger
    from realm_tf.data.spans.date_number_tagger import DateNumberTagger
    from realm_tf.data.spans.spacy_tagger import SpacyTagger
    from realm_tf.data.spans.span_tagger import SpanTagger

    taggers: list[SpanTagger] = []
    if folder is not None:
        from realm_tf.models.entity_tagger import EntityTagger

        taggers.append(EntityTagger.load(folder, dtype=dtype))
    if spacy is not None:
        taggers.append(SpacyTagger(_load_spacy(spacy)))
    if rules:
        taggers.append(DateNumberTagger())
    if not taggers:
        raise click.UsageError("--no-rules needs --tagger or --spacy.")
    return taggers[0] if len(taggers) == 1 else CombinedTagger(taggers)


def _load_spacy(name: str) -> object:
    try:
        import spacy
    except ImportError as error:
        raise click.ClickException(
            "--spacy needs spaCy, which is not installed. Run `pip install "
            "spacy`, and download the pipeline."
        ) from error
    return spacy.load(name)
