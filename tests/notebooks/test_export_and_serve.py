"""`04_export_and_serve` runs, on a tiny model and few passages."""

import pathlib

import nbclient
import nbformat
import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "notebooks"
NOTEBOOK = FOLDER / "04_export_and_serve.ipynb"


@pytest.fixture(scope="module")
def printed(tiny_bert, tmp_path_factory):
    """What each cell printed, by its id."""
    pytest.importorskip("fastapi")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REALM_TF_PRESET", str(tiny_bert))
        patch.setenv("REALM_TF_NOTEBOOK_SIZE", "24")
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("notebook")))
        client = nbclient.NotebookClient(
            notebook, timeout=600, resources={"metadata": {"path": FOLDER}}
        )
        cells = client.execute().cells
    return {
        cell.id: "".join(
            output.text
            for output in cell.get("outputs", ())
            if output.output_type == "stream" and output.name == "stdout"
        )
        for cell in cells
    }


def test_bundle_is_written(printed):
    lines = printed["export"].splitlines()
    assert {"bundle.json", "corpus", "index", "realm_reader"} <= set(lines)
    assert "realm_query_embedder/1" in lines


def test_models_load_without_this_library(printed):
    assert printed["fresh"].splitlines()[:2] == ["(1, 128)", "[]"]


def test_service_answers_as_the_model_does(printed):
    assert "same as the local model: True" in printed["ask"]
    assert "'realm_reader': 1" in printed["http"]
    assert len(printed["http"].splitlines()) == 4


def test_documents_come_and_go(printed):
    added, found, deleted = printed["add"].splitlines()
    assert (added, deleted) == ("1 more", "0 more")
    assert " | " in found


def test_service_ends_well(printed):
    assert printed["end"].strip() == "0"
