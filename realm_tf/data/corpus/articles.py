"""Files and folders to articles."""

import abc
import copy
import functools
import logging
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any, NamedTuple

from realm_tf.data.corpus.article_formats import (
    FORMATS,
    Finish,
    check_article,
    detect_format,
    is_navigation,
)
from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.decompressed_file import DecompressedFile
from realm_tf.data.corpus.formats.folder_files import (
    LeftOut,
    list_folder,
    why_no_link,
)
from realm_tf.data.corpus.formats.template_tally import TemplateTally
from realm_tf.errors import BadRecordError

logger = logging.getLogger(__name__)

_MAX_LISTED = 10
_ADVICE = "Correct it, or pass `skip_bad=True` to skip invalid records."

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class SourceArticle(NamedTuple):
    """An article with the file and line of its source.

    Args:
        article: `Article`; of a dump, with its wikitext.
        path: file it was read from.
        line: number of its first line there.
        finish: the slow part that is left, see `ArticleFormat`.
    """

    article: Article
    path: str
    line: int
    finish: Finish | None = None

    def finished(self, tally: TemplateTally | None = None) -> Article | None:
        """The article with plain text; None where none can be made."""
        if self.finish is None:
            return self.article
        return self.finish(self.article, tally or TemplateTally())


class ArticleSource(abc.ABC):
    """Articles, one at a time, with a count of invalid ones.

    Args:
        skip_bad: count bad records in `num_bad`, in place of stopping at the
            first.
        skip_navigation: skip articles named "List of ...", "Index of
            ...", "Outline of ..." or "... (disambiguation)", and count them
            in `num_left_out`. By default in the Wikipedia formats only.
    """

    num_bytes = 0
    """Size of what is read, where known."""

    files_left_out: Sequence[LeftOut] = ()
    """Files and folders that hold no articles."""

    def __init__(
        self, *, skip_bad: bool = False, skip_navigation: bool | None = None
    ):
        self.skip_bad = skip_bad
        self.skip_navigation = skip_navigation
        self.num_bad = 0
        self.num_left_out = 0

    @abc.abstractmethod
    def __iter__(self) -> Iterator[SourceArticle]:
        """Reads from the start and counts anew."""

    @property
    @abc.abstractmethod
    def fraction_read(self) -> float:
        """How much was read, from 0 to 1."""

    @property
    @abc.abstractmethod
    def identity(self) -> list[list[Any]] | None:
        """JSON value that changes with the articles; None if not known."""

    def _accept(
        self,
        path: str,
        line: int,
        parse: Callable[[], Article | None],
        skip_navigation: bool,
    ) -> Article | None:
        """The article `parse` returns, or None if it cannot be used."""
        try:
            article = parse()
            if article is not None:
                check_article(article)
        except ValueError as error:
            if not self.skip_bad:
                raise BadRecordError(path, line, str(error), _ADVICE) from error
            self.num_bad += 1
            logger.debug("Skipped line %d of %s: %s", line, path, error)
            return None
        if self.skip_navigation is not None:
            skip_navigation = self.skip_navigation
        if article is None or (
            skip_navigation and is_navigation(article.title)
        ):
            self.num_left_out += 1
            return None
        return article


class GivenArticles(ArticleSource):
    """Articles that the caller holds or makes.

    Args:
        articles: read once.
        skip_bad: see `ArticleSource`.
        skip_navigation: see `ArticleSource`.
    """

    def __init__(self, articles: Iterable[Article], **options: Any):
        super().__init__(**options)
        self._articles = articles
        self._num_read = 0

    @property
    def fraction_read(self) -> float:
        if not isinstance(self._articles, Sized):
            return 0.0
        return self._num_read / max(1, len(self._articles))

    @property
    def identity(self) -> None:
        return None

    def __iter__(self) -> Iterator[SourceArticle]:
        self.num_bad = self.num_left_out = 0
        for i, given in enumerate(self._articles, 1):
            self._num_read = i
            parse = functools.partial(_identity, given)
            article = self._accept("the articles", i, parse, False)
            if article is not None:
                yield SourceArticle(article, "the articles", i)


class ArticleFiles(ArticleSource):
    """Articles of files and folders.

    | format | files |
    |---|---|
    | `jsonl` | a JSON object a line: `text`, and where known `title`, `id` |
    | `json` | an array of such objects, or pretty-printed objects |
    | `tsv` | a header that names `text`, or `id`, `text`, `title` as in DPR |
    | `csv` | a header that names `text` |
    | `text` | one article a file; its title is the file's name |
    | `markdown`, `html` | the same; the title is that of the page, if any |
    | `wikiextractor` | output of WikiExtractor, `wiki_00` etc. |
    | `wikipedia` | XML dump, `pages-articles`, current revisions |

    Each may be compressed with gzip or bzip2. Articles without an id get the
    file's path below the files' common folder, and the line. HTML entities are
    resolved in the Wikipedia formats. Which links show nothing, such as
    `[[Datei:...]]`, is as `<siteinfo>` of a dump says; without one, by the
    names of many languages.

    Text is kept as it is: control characters, marks of direction, NUL and
    characters of four bytes too. Bytes that are no UTF-8, half surrogate pairs
    and over-long titles make a record bad.

    Args:
        sources: files and folders. Of a folder, all files below it whose names
            do not begin with a dot, and with "auto" only those that hold
            articles, in the order of their paths. The others are listed in
            `files_left_out`, and a warning names them.
        format: one of the table, or "auto" for each file's own.
        skip_bad: see `ArticleSource`.
        skip_navigation: see `ArticleSource`.

    Raises:
        ValueError: if there is no file, or a file's format is not known.
        BadRecordError: while reading, at a bad record.
    """

    def __init__(self, sources: Paths, format: str = "auto", **options: Any):
        super().__init__(**options)
        if format != "auto" and format not in FORMATS:
            raise ValueError(
                f"`format` must be auto, {', '.join(FORMATS)}. Received: "
                f"format={format!r}. Name the format of your files."
            )
        self.files, self.files_left_out = _list_files(sources, format)
        if self.files_left_out:
            logger.warning(
                "Left out %d files and folders: %s",
                len(self.files_left_out),
                _listed(self.files_left_out),
            )
        self.num_bytes = sum(f.stat().st_size for f, _ in self.files)
        self._root = os.path.commonpath([f.parent for f, _ in self.files])
        self._bytes_before = 0
        self._file: DecompressedFile | None = None

    @property
    def fraction_read(self) -> float:
        here = self._file.bytes_read if self._file else 0
        return min(1.0, (self._bytes_before + here) / max(1, self.num_bytes))

    @property
    def identity(self) -> list[list[Any]]:
        stats = [(path, path.stat(), name) for path, name in self.files]
        return [[str(p), s.st_size, s.st_mtime_ns, n] for p, s, n in stats]

    def shards(self, num_bytes: int) -> list["ArticleFiles"]:
        """Runs of files, which together hold the same articles in order.

        Args:
            num_bytes: size at which a run ends, with the file that reaches it.
        """
        shards, start, size = [], 0, 0
        for end, (path, _) in enumerate(self.files, 1):
            size += path.stat().st_size
            if size < num_bytes and end < len(self.files):
                continue
            shard = copy.copy(self)
            shard.files, shard.files_left_out = self.files[start:end], []
            shard.num_bytes = size
            shards.append(shard)
            start, size = end, 0
        return shards

    def __iter__(self) -> Iterator[SourceArticle]:
        self.num_bad = self.num_left_out = self._bytes_before = 0
        for path, format in self.files:
            with DecompressedFile(path) as self._file:
                yield from self._read(self._file, path, format)
            self._file = None
            self._bytes_before += path.stat().st_size

    def _read(
        self, file: DecompressedFile, path: pathlib.Path, format: str
    ) -> Iterator[SourceArticle]:
        records, parse, finisher, skip_navigation = FORMATS[format]
        finish = finisher(path) if finisher else None
        label = path.relative_to(self._root).as_posix()
        # A name that is no UTF-8 is told by its bytes.
        label = os.fsencode(label).decode("utf-8", "backslashreplace")
        for line, record in records(file):
            article = self._accept(
                str(path),
                line,
                functools.partial(parse, record, f"{label}:{line}"),
                skip_navigation,
            )
            if article is not None:
                yield SourceArticle(article, str(path), line, finish)


def read_articles(
    sources: Paths,
    format: str = "auto",
    *,
    skip_bad: bool = False,
    skip_navigation: bool | None = None,
) -> Iterator[Article]:
    """Articles of files and folders; see `ArticleFiles`.

    Pages with unreadable wikitext are skipped.

    Example:
    >>> import tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "articles.jsonl")
    >>> _ = path.write_text('{"title": "Emma", "text": "It is a novel."}')
    >>> [article.document_id for article in read_articles(path)]
    ['articles.jsonl:1']
    """
    files = ArticleFiles(
        sources, format, skip_bad=skip_bad, skip_navigation=skip_navigation
    )
    for source in files:
        article = source.finished()
        if article is not None:
            yield article
    if files.num_bad:
        logger.warning("Skipped %d bad records.", files.num_bad)


def _list_files(
    sources: Paths, format: str
) -> tuple[list[tuple[pathlib.Path, str]], list[LeftOut]]:
    """Each file with its format, and what holds no articles."""
    if isinstance(sources, str | os.PathLike):
        sources = [sources]
    files: list[tuple[pathlib.Path, str]] = []
    left_out: list[LeftOut] = []
    for source in map(pathlib.Path, sources):
        if source.is_dir():
            for item in _list_folder(source.resolve(), format):
                if isinstance(item, LeftOut):
                    left_out.append(item)
                else:
                    files.append(item)
        elif source.is_file():
            found = detect_format(source) if format == "auto" else format
            if found is None:
                raise ValueError(
                    "The format of a file must be known. Received: "
                    f"{source}. Pass `format`, one of {', '.join(FORMATS)}."
                )
            files.append((source.resolve(), found))
        else:
            raise ValueError(
                "`sources` must be files and folders. Received: "
                f"{source}, which is neither. Check the path."
            )
    if not files:
        others = f" ({_listed(left_out)})" if left_out else ""
        raise ValueError(
            "`sources` must hold at least one file of articles. Received: "
            f"{', '.join(map(str, sources)) or 'no path'}{others}. Check the "
            "paths and `format`."
        )
    return files, left_out


def _list_folder(
    folder: pathlib.Path, format: str
) -> Iterator[tuple[pathlib.Path, str] | LeftOut]:
    if format == "auto":
        yield from list_folder(folder, detect_format)
        return
    for path in sorted(folder.rglob("*")):
        hidden = any(p.startswith(".") for p in path.relative_to(folder).parts)
        if hidden or not (path.is_file() or path.is_symlink()):
            continue
        why = why_no_link(path, folder)
        yield LeftOut(path, why) if why else (path, format)


def _listed(left_out: Sequence[LeftOut]) -> str:
    named = [f"{path} ({why})" for path, why in left_out[:_MAX_LISTED]]
    more = len(left_out) - len(named)
    return ", ".join(named) + (f", and {more} more" if more else "")


def _identity(article: Article) -> Article:
    return article
