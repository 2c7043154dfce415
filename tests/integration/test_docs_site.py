"""The site has a page for all that is public, and its links lead somewhere."""

import importlib
import inspect
import pathlib
import re
import subprocess
import sys

import pytest

import realm_tf

ROOT = pathlib.Path(realm_tf.__file__).parents[1]
CONFIG = (ROOT / "mkdocs.yml").read_text("utf-8")
REPOSITORY = "https://host/repository"


@pytest.fixture(scope="module")
def site():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "scripts")
        yield importlib.import_module("docs_site")


@pytest.fixture(scope="module")
def pages(site):
    return site.made_pages()


def test_every_public_name_is_in_the_reference(pages):
    documented = set(re.findall(r"^::: (\S+)", "".join(pages.values()), re.M))
    packages = [
        n for n in realm_tf.__all__ if inspect.ismodule(getattr(realm_tf, n))
    ]
    for package in ["realm_tf", *(f"realm_tf.{name}" for name in packages)]:
        module = importlib.import_module(package)
        page = pages[f"reference/{package.replace('.', '_')}.md"]
        links = set(re.findall(r"\[`([\w.]+)`\]", page))
        classes = dict(inspect.getmembers(module, inspect.isclass))
        for name in getattr(module, "__all__", classes):
            full = f"{package}.{name}"
            assert full in documented or {name, full} & links, full
    # A link leads to a documented name.
    targets = set(re.findall(r"\]\[([\w.]+)\]", "".join(pages.values())))
    assert targets and targets <= documented


def test_every_name_is_documented_once(pages):
    found = re.findall(r"^::: (\S+)", "".join(pages.values()), re.M)
    assert len(found) == len(set(found)) > 60
    last = [name.rpartition(".")[2] for name in found]
    assert len(last) == len(set(last))
    assert "realm_tf.RealmQA" in found


def test_every_command_is_in_the_reference(pages):
    page = pages["reference/command_line.md"]
    for command in ("ask", "index build", "pretrain mlm", "serve"):
        assert f"\n## realm-tf {command}\n" in page
    assert "--leaves-to-search" in page


def test_every_public_name_has_a_docstring(site):
    pytest.importorskip("griffe")
    assert site.undocumented() == []


def test_a_public_name_without_a_docstring_is_found(site, monkeypatch):
    pytest.importorskip("griffe")
    monkeypatch.setattr(site, "PACKAGES", ["realm_tf._manifest"])
    monkeypatch.setattr(
        site, "public_names", lambda _: ["OpenFolder", "MANIFEST_NAME"]
    )
    assert site.undocumented() == ["realm_tf._manifest.MANIFEST_NAME"]


def test_menu_has_every_page(pages):
    written = {
        str(path.relative_to(ROOT / "docs"))
        for path in (ROOT / "docs").rglob("*.md")
    }
    menu = re.findall(r": (\S+\.md)$", CONFIG, re.M)
    assert len(menu) == len(set(menu))
    assert set(menu) == written | pages.keys()


@pytest.mark.parametrize(
    ("link", "page", "expected"),
    [
        ("limits.md", "results.md", "limits.md"),
        ("../limits.md", "guides/finetune.md", "../limits.md"),
        ("../export/README.md", "limits.md", "serving.md"),
        ("../../export/README.md", "guides/finetune.md", "../serving.md"),
        ("docs/limits.md", "index.md", "limits.md"),
        ("../docs/limits.md", "serving.md", "limits.md"),
        ("../SECURITY.md", "serving.md", "security.md"),
        ("LICENSE", "index.md", f"{REPOSITORY}/blob/main/LICENSE"),
        ("../demo/data", "limits.md", f"{REPOSITORY}/tree/main/demo/data"),
        ("../nothing.md", "limits.md", "../nothing.md"),
        ("https://arxiv.org", "limits.md", "https://arxiv.org"),
    ],
)
def test_links_lead_to_the_page_or_to_the_repository(
    site, link, page, expected
):
    assert site.resolve(link, page, REPOSITORY) == expected


def test_examples_of_docstrings_become_a_section():
    pytest.importorskip("griffe")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "scripts")
        docstrings = importlib.import_module("docs_docstrings")
    text = "Adds.\n\nExample:\n>>> add(1, 2)\n3\n\nSource: a paper."
    assert docstrings.with_examples(text) == (
        "Adds.\n\nExamples:\n    >>> add(1, 2)\n    3\n\nSource: a paper."
    )


def test_pictures_are_those_of_the_script(tmp_path):
    pytest.importorskip("matplotlib")
    script = str(ROOT / "scripts" / "draw_concepts.py")
    subprocess.run([sys.executable, script, str(tmp_path)], check=True)
    for name in ("parts.svg", "folders.svg"):
        drawn, kept = (
            re.findall(r"<text[^>]*>([^<]*)", (f / name).read_text("utf-8"))
            for f in (tmp_path, ROOT / "docs")
        )
        assert drawn == kept != []


@pytest.mark.large
def test_site_builds_strictly(tmp_path):
    pytest.importorskip("mkdocstrings_handlers.python")
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir"]
    done = subprocess.run(
        [*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    page = (tmp_path / "reference" / "realm_tf" / "index.html").read_text()
    assert 'id="realm_tf.RealmQA.ask"' in page  # of a base class
