"""realm-tf index: embeddings of a corpus, ready to be searched."""

import pathlib
import time
from typing import TYPE_CHECKING, Any

import click

from realm_tf.cli.ui import options
from realm_tf.cli.ui.class_options import class_options, make
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.precision import choose_dtype
from realm_tf.cli.ui.progress import progress_bar
from realm_tf.cli.ui.tables import folder_bytes, show_facts
from realm_tf.errors import LockedError
from realm_tf.options import ScannOptions

if TYPE_CHECKING:
    from realm_tf.retrieval.index.block_index import BlockIndex


@click.group()
def index() -> None:
    """Builds indexes: the blocks of a corpus, embedded for search.

    An index folder holds up to three versions; the newest is in use.
    """


_FOLDER = click.argument("folder", type=options.FOLDER)


@index.command(
    epilog=options.examples(
        "realm-tf index build --preset preset --corpus corpus --output index",
        "realm-tf index build --preset preset --corpus corpus -o index "
        "--runner DirectRunner --beam-option direct_num_workers=2 "
        "--beam-option direct_running_mode=multi_processing",
    )
)
@options.preset_option()
@options.corpus_option()
@click.option(
    "--output",
    "-o",
    required=True,
    type=options.NEW_PATH,
    help="Index folder; an existing one gets a new version.",
)
@options.searcher_option
@options.storage_option
@options.analyzer_option
@click.option("--skip-bad", is_flag=True, help="Skip invalid embeddings.")
@options.force_option
@class_options(ScannOptions)
@options.dtype_option()
@options.beam_options
@options.json_option()
@options.shared_options
def build(
    preset: pathlib.Path,
    corpus: pathlib.Path,
    output: pathlib.Path,
    searcher: str,
    storage: str,
    analyzer: str | None,
    skip_bad: bool,
    force: bool,
    dtype: str,
    runner: str | None,
    beam_options: tuple[str, ...],
    as_json: bool,
    **scann: Any,
) -> None:
    """Embeds all blocks of a corpus with a model.

    The options from --num-leaves on are those of ScaNN. With --runner, the
    workers need preset, corpus and output under the same paths.
    """
    options.check_beam(runner, beam_options, None)
    prepare_tensorflow()
    start = time.monotonic()
    precision = choose_dtype(dtype)
    build_options = {
        "searcher": searcher,
        "dtype": storage,
        "analyzer": analyzer,
        "scann": make(ScannOptions, scann),
        "skip_bad": skip_bad,
        "force": force,
    }
    if runner is not None:
        from realm_tf.pipelines import BuildIndex

        transform = BuildIndex(
            preset, corpus, output, precision=precision, **build_options
        )
        built = transform.run(runner, *beam_options)
    else:
        from realm_tf.realm_qa import RealmQA

        qa = RealmQA.from_preset(preset, dtype=precision)
        with progress_bar("index") as bar:
            built = qa.build_index(
                corpus, output, progress=bar.show, **build_options
            )
    seconds = round(time.monotonic() - start, 2)
    show_facts(_facts(built.folder) | {"seconds": seconds}, as_json)


@index.command(epilog=options.examples("realm-tf index info index"))
@_FOLDER
@options.json_option()
@options.shared_options
def info(folder: pathlib.Path, as_json: bool) -> None:
    """Tells what an index holds."""
    from realm_tf.retrieval.index import index_versions

    version = index_versions.find_version(folder, None)
    newest = index_versions.version_folder(folder, version)
    versions = {"versions": index_versions.list_versions(folder)}
    show_facts(_facts(newest) | versions, as_json)


@index.command(
    epilog=options.examples(
        "realm-tf index verify index", "realm-tf index verify index -c corpus"
    )
)
@_FOLDER
@click.option(
    "--corpus", "-c", type=options.FOLDER, help="The corpus that was indexed."
)
@options.json_option()
@options.shared_options
def verify(
    folder: pathlib.Path, corpus: pathlib.Path | None, as_json: bool
) -> None:
    """Compares every file of all versions with its SHA-256.

    With --corpus, also checks that the newest version belongs to the corpus.
    """
    from realm_tf.retrieval.index import index_loader, index_versions

    index_versions.find_version(folder, None)  # there must be one
    versions = index_versions.list_versions(folder)
    for version in versions:
        path = index_versions.version_folder(folder, version)
        manifest = index_loader.read_description(path, verify=True)
        index_versions.read_updates(folder, version, manifest.fingerprint)
    if corpus is not None:
        _open(folder, corpus)
    facts = {"path": str(folder), "valid": True, "versions": versions}
    show_facts(facts, as_json)


@index.command(
    epilog=options.examples(
        "realm-tf index add index news.jsonl --preset preset --corpus corpus"
    )
)
@_FOLDER
@click.argument("sources", nargs=-1, required=True, type=options.FILE_OR_FOLDER)
@options.preset_option()
@options.corpus_option()
@click.option(
    "--format", default="auto", show_default=True, help="Format of the files."
)
@click.option(
    "--skip-bad", is_flag=True, help="Skip and count invalid records."
)
@options.dtype_option()
@options.json_option()
@options.shared_options
def add(
    folder: pathlib.Path,
    sources: tuple[pathlib.Path, ...],
    preset: pathlib.Path,
    corpus: pathlib.Path,
    format: str,
    skip_bad: bool,
    dtype: str,
    as_json: bool,
) -> None:
    """Adds documents to an index, or replaces those that exist."""
    prepare_tensorflow()
    from realm_tf.data.corpus.articles import read_articles
    from realm_tf.data.corpus.corpus import Corpus
    from realm_tf.realm_qa import RealmQA

    articles = list(read_articles(sources, format, skip_bad=skip_bad))
    qa = RealmQA.from_preset(preset, dtype=choose_dtype(dtype))
    opened = qa.open_index(folder, Corpus.open(corpus, verify=False))
    qa.add_documents(articles)
    facts = {"added_documents": len(articles), "num_blocks": opened.num_blocks}
    show_facts(facts, as_json)


@index.command(
    epilog=options.examples(
        "realm-tf index delete index doc-7 doc-9 --corpus corpus"
    )
)
@_FOLDER
@click.argument("document_ids", nargs=-1, required=True)
@options.corpus_option()
@options.json_option()
@options.shared_options
def delete(
    folder: pathlib.Path,
    document_ids: tuple[str, ...],
    corpus: pathlib.Path,
    as_json: bool,
) -> None:
    """Deletes documents from an index by their ids."""
    opened = _open(folder, corpus)
    opened.delete(document_ids)
    facts = {
        "deleted_documents": len(document_ids),
        "num_blocks": opened.num_blocks,
    }
    show_facts(facts, as_json)


@index.command(
    epilog=options.examples(
        "realm-tf index compact index --corpus corpus --output corpus-2"
    )
)
@_FOLDER
@options.corpus_option()
@click.option(
    "--output",
    "-o",
    required=True,
    type=options.NEW_PATH,
    help="Folder of the new corpus.",
)
@options.tokenizer_options
@options.json_option()
@options.shared_options
def compact(
    folder: pathlib.Path,
    corpus: pathlib.Path,
    output: pathlib.Path,
    tokenizer: pathlib.Path | None,
    cased: bool,
    as_json: bool,
) -> None:
    """Folds added and deleted documents into a new corpus and version.

    The index of a query service is folded by the service itself, which answers
    meanwhile: `RealmClient.compact_index`, or POST /v1/index.
    """
    prepare_tensorflow()
    from realm_tf.cli.ui.tokenizer import open_tokenizer

    featurizer = open_tokenizer(tokenizer, cased=cased)
    try:
        compacted = _open(folder, corpus).compact(output, featurizer)
    except LockedError as error:
        raise LockedError(
            f"{error} If it is a query service, let it fold the documents: "
            "`RealmClient.compact_index()`, or POST /v1/index with "
            '{"compact": true}.'
        ) from error
    show_facts(_facts(compacted.folder), as_json)


@index.command(epilog=options.examples("realm-tf index rollback index 3"))
@_FOLDER
@click.argument("version", type=options.POSITIVE)
@options.json_option()
@options.shared_options
def rollback(folder: pathlib.Path, version: int, as_json: bool) -> None:
    """Makes an older version the newest, under a new number."""
    from realm_tf.retrieval.index.block_index import BlockIndex

    newest = BlockIndex.roll_back(folder, version)
    facts = {"path": str(folder), "version": newest, "same_as": version}
    show_facts(facts, as_json)


def _open(folder: pathlib.Path, corpus: pathlib.Path) -> "BlockIndex":
    from realm_tf.data.corpus.corpus import Corpus
    from realm_tf.retrieval.index.block_index import BlockIndex

    opened = Corpus.open(corpus, verify=False)
    return BlockIndex.open(folder, opened, verify=False)


def _facts(version: pathlib.Path) -> dict[str, Any]:
    """What one version says of itself."""
    from realm_tf.retrieval.index import index_loader, index_versions

    manifest = index_loader.read_description(version, verify=False)
    number = int(version.name.removeprefix("v"))
    updates = index_versions.read_updates(
        version.parent, number, manifest.fingerprint
    )
    return {
        "path": str(version.parent),
        "version": number,
        **manifest.counts,
        "num_updates": len(updates),
        **manifest.options,
        "bytes": folder_bytes(version),
        "fingerprint": manifest.fingerprint,
        **manifest.fingerprints,
        "library_version": manifest.library_version,
    }
