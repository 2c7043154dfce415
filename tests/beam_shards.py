"""Files for pipelines, and folders to compare."""

import bz2
import json

RUNNER = "FnApiRunner"  # DirectRunner, without a look for another one
PAGE = (
    "<page><title>{0}</title><ns>0</ns><id>{1}</id>"
    "<revision><text>{2}</text></revision></page>\n"
)


def contents(folder):
    """Path -> bytes of all files of a folder but its lock."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".writer.lock"
    }


def write_shards(folder, name, articles):
    """Three files of articles, each with a bad one where that can be.

    Args:
        folder: is made.
        name: of the files, "{}" being the number; it decides the format.
        articles: `Article`s.
    """
    folder.mkdir()
    for i in range(3):
        data = _shard(name, articles[4 * i : 4 * i + 4]).encode()
        if name.endswith(".bz2"):
            data = bz2.compress(data)
        (folder / name.format(i)).write_bytes(data)
    return folder


def _shard(name, articles):
    rows = [(a.document_id, a.title, a.text) for a in articles]
    if name.endswith(".jsonl"):
        fields = ("id", "title", "text")
        lines = [json.dumps(dict(zip(fields, r, strict=True))) for r in rows]
        return "\n".join([*lines[:1], "{}", *lines[1:], ""])
    if name.endswith(".tsv"):
        lines = [f"{i}\t{text}\t{title}" for i, title, text in rows]
        return "\n".join(["id\ttext\ttitle", "poison", *lines, ""])
    if name.endswith(".bz2"):
        pages = [
            PAGE.format(title, i, text + " It is {{convert|5|km}} long.")
            for i, title, text in rows
        ]
        return "".join([*pages, PAGE.format("Bad", 0, "&bomb;")])
    return "".join(
        f'<doc id="{i}" title="{title}">\n{text}\n</doc>\n'
        for i, title, text in rows
    )
