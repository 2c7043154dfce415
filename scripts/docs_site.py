"""Pages of the documentation site that are made from something else.

A hook of MkDocs, which `mkdocs.yml` names; `make docs` builds the site.

- Files of the repository outside `docs/` become pages (`BORROWED`).
- Each package of public names becomes a page of the reference.
- The help of every command becomes one page.
- Links keep working: those to other files of the repository lead to its host.
"""

import importlib
import inspect
import os
import pathlib
import posixpath
import re

import click

import realm_tf
from realm_tf.cli import main

ROOT = pathlib.Path(__file__).parents[1]
BORROWED = {
    "index.md": "README.md",
    "serving.md": "export/README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "code_of_conduct.md": "CODE_OF_CONDUCT.md",
    "security.md": "SECURITY.md",
}
PACKAGES = ["realm_tf"] + [
    f"realm_tf.{name}"
    for name in realm_tf.__all__
    if name.islower() and name.isalpha()
]
PAGES = {
    package: f"reference/{package.replace('.', '_')}.md" for package in PACKAGES
}
COMMAND_LINE = "reference/command_line.md"
_DOOR_IS_HOME = ("RealmQA",)  # also in realm_tf.models
_LINK = re.compile(r"(\]\()([^)\s#]+)")


def public_names(package: str) -> list[str]:
    """Classes, functions and constants of a package that users may rely on."""
    module = importlib.import_module(package)
    if package == "realm_tf.errors":
        return [name for name, _ in inspect.getmembers(module, inspect.isclass)]
    return [name for name in module.__all__ if f"{package}.{name}" not in PAGES]


def home(package: str, name: str) -> str:
    """The package whose page documents a public name of another one."""
    if name in _DOOR_IS_HOME:
        return "realm_tf"
    if package != "realm_tf":
        return package
    homes = (other for other in PACKAGES[1:] if name in public_names(other))
    return next(homes, "realm_tf")


def reference_page(package: str) -> str:
    """The page of a package: what it is for, then each public name."""
    module = importlib.import_module(package)
    summary = (inspect.getdoc(module) or "").split("\n")[0]
    lines = [f"# {package}", "", summary, ""]
    homes = {name: home(package, name) for name in public_names(package)}
    if package == "realm_tf":
        lines += [f"- [`{p}`]({PAGES[p][10:]})" for p in PACKAGES[1:]]
    lines += [
        f"- [`{name}`][{page}.{name}]"
        for name, page in homes.items()
        if page != package
    ]
    for name, page in homes.items():
        if page == package:
            lines += ["", f"::: {package}.{name}"]
    return "\n".join(lines) + "\n"


def command_line_page() -> str:
    """The help of every command."""
    lines = ["# Command line", "", "What `realm-tf COMMAND --help` shows."]
    for names, command in _commands(main, ()):
        context = click.Context(
            command, info_name=" ".join(names), max_content_width=80
        )
        lines += ["", f"## {' '.join(names)}", "", "```text"]
        lines += [command.get_help(context), "```"]
    return "\n".join(lines) + "\n"


def _commands(command, names):
    names = (*names, command.name if names else "realm-tf")
    if not isinstance(command, click.Group):
        yield names, command
        return
    for child in command.commands.values():
        yield from _commands(child, names)


def made_pages() -> dict[str, str]:
    """Address -> Markdown of all pages that are not written in `docs/`."""
    pages = {
        uri: (ROOT / path).read_text("utf-8") for uri, path in BORROWED.items()
    }
    pages |= {PAGES[p]: reference_page(p) for p in PACKAGES}
    return pages | {COMMAND_LINE: command_line_page()}


def undocumented() -> list[str]:
    """Public names without a docstring."""
    import griffe

    package = griffe.load("realm_tf", search_paths=[ROOT])
    names = [f"{p}.{name}" for p in PACKAGES for name in public_names(p)]
    return [
        name
        for name in names
        if not package[name.removeprefix("realm_tf.")].has_docstring
    ]


def resolve(link: str, uri: str, repository: str) -> str:
    """Where a link of a page leads on the site.

    Args:
        link: as it is written, relative to the file in the repository.
        uri: address of the page on the site.
        repository: address of the repository, without a slash at the end.
    """
    if re.match(r"[a-z]+:|/", link):
        return link
    source = BORROWED.get(uri, f"docs/{uri}")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    borrowed = {path: page for page, path in BORROWED.items()}
    if target in borrowed:
        target = f"docs/{borrowed[target]}"
    elif not target.startswith("docs/") and (ROOT / target).exists():
        kind = "tree" if (ROOT / target).is_dir() else "blob"
        return f"{repository}/{kind}/main/{target}"
    if not target.startswith("docs/"):
        return link
    return os.path.relpath(target[5:], posixpath.dirname(uri) or ".")


def on_files(files, config):
    """Adds the pages that are made."""
    from mkdocs.exceptions import PluginError
    from mkdocs.structure.files import File

    missing = undocumented()
    if missing:
        raise PluginError(
            "Public names must have a docstring. Received none for: "
            f"{', '.join(missing)}."
        )
    for uri, text in made_pages().items():
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Makes links between files of the repository links of the site."""
    uri, repository = page.file.src_uri, config.repo_url.rstrip("/")
    if uri.startswith("reference/"):
        return markdown
    return _LINK.sub(
        lambda match: match[1] + resolve(match[2], uri, repository), markdown
    )
