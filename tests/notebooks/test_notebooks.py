"""Every notebook runs, on a tiny model and a slice of the bundled corpus."""

import ast
import html
import pathlib
import re

import nbclient
import nbformat
import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
ASK = FOLDER / "01_ask_your_documents.ipynb"
PRETRAIN = FOLDER / "02_pretrain.ipynb"
FINETUNE = FOLDER / "03_finetune_qa.ipynb"

PROBE = """
import dataclasses
import html
from realm_tf.data.corpus.blocks import Block
text = "<script>Tom & Ann</script>"
block = Block("by " + text, title=text)
show(
    dataclasses.replace(
        answer, question=text, text=text, block=block, start=3, end=29
    )
)
"""


@pytest.fixture(scope="module")
def cells(tiny_bert, tmp_path_factory):
    """Executed cells of `01_ask_your_documents` by id, and one more: probe."""
    notebook = nbformat.read(ASK, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(PROBE, id="probe"))
    return execute(notebook, tiny_bert, tmp_path_factory.mktemp("notebook"))


@pytest.fixture(scope="module")
def pretrain_cells(tiny_bert, tmp_path_factory):
    """Executed cells of `02_pretrain` by id."""
    notebook = nbformat.read(PRETRAIN, as_version=4)
    return execute(notebook, tiny_bert, tmp_path_factory.mktemp("pretrain"))


@pytest.fixture(scope="module")
def finetune_cells(tiny_bert, tmp_path_factory):
    """Executed cells of `03_finetune_qa` by id."""
    notebook = nbformat.read(FINETUNE, as_version=4)
    return execute(notebook, tiny_bert, tmp_path_factory.mktemp("finetune"))


def execute(notebook, bert, folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REALM_TF_BERT", str(bert))
        patch.setenv("REALM_TF_PRESET", str(bert))
        patch.setenv("REALM_TF_NOTEBOOK_SIZE", "24")
        patch.setenv("REALM_TF_NOTEBOOK_STEPS", "3")
        patch.setenv("TMPDIR", str(folder))
        client = nbclient.NotebookClient(
            notebook, timeout=600, resources={"metadata": {"path": FOLDER}}
        )
        return {cell.id: cell for cell in client.execute().cells}


def printed(cell):
    return "".join(
        output.text
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stdout"
    )


def shown(cell, kind):
    (data,) = (out.data for out in cell.outputs if "data" in out)
    return data[kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_kept_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs") and not cell.get("execution_count")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_badge_opens_the_notebook_in_the_repository_that_is_cloned(path):
    text = "\n".join(c.source for c in nbformat.read(path, as_version=4).cells)
    (repository,) = re.findall('REPOSITORY = "(.*)"', text)
    assert f"/github/{repository}/blob/main/notebooks/{path.name})" in text


@pytest.mark.parametrize("name", ["first", "show", "none", "add", "save"])
def test_answers_are_printed(cells, name):
    assert printed(cells[name]).strip()


@pytest.mark.parametrize("name", ["show", "add"])
def test_evidence_has_the_answer_marked(cells, name):
    answer = printed(cells[name]).strip()
    marked = re.search("<mark>(.*)</mark>", shown(cells[name], "text/html"))
    assert html.unescape(marked[1]) == answer


def test_evidence_is_escaped(cells):
    evidence = shown(cells["probe"], "text/html")
    assert "<script>" not in evidence
    assert "<mark>&lt;script&gt;Tom &amp; Ann&lt;/script&gt;</mark>" in evidence


def test_scores_are_shown(cells):
    scores = ast.literal_eval(shown(cells["scores"], "text/plain"))
    assert scores.keys() == {
        "exact_match",
        "f1",
        "answer_recall_at_1",
        "answer_recall_at_5",
    }


def test_saved_preset_answers_as_the_model_did(cells):
    answer, preset = printed(cells["save"]).splitlines()
    assert answer == printed(cells["add"]).strip()
    assert (pathlib.Path(preset) / "manifest.json").is_file()


def test_pretraining_is_plotted_and_measured(pretrain_cells):
    for name in ("plot-ict", "plot-mlm"):
        assert shown(pretrain_cells[name], "image/png")
    recalls = ast.literal_eval(shown(pretrain_cells["mlm"], "text/plain"))
    assert recalls.keys() == {"start", "ict", "masked words"}
    assert "## Step" in shown(pretrain_cells["examples"], "text/markdown")
    preset = pathlib.Path(printed(pretrain_cells["save"]).strip())
    assert (preset / "manifest.json").is_file()


def test_finetuning_is_plotted_measured_and_saved(finetune_cells):
    assert shown(finetune_cells["history"], "image/png")
    scores = ast.literal_eval(shown(finetune_cells["after"], "text/plain"))
    assert list(scores) == [
        "exact_match",
        "f1",
        "answer_recall_at_1",
        "answer_recall_at_5",
    ]
    for before, after in scores.values():
        assert 0 <= before <= 1 and 0 <= after <= 1
    assert "|" in printed(finetune_cells["wrong"])
    is_same, preset = printed(finetune_cells["save"]).splitlines()
    assert is_same == "True"
    assert (pathlib.Path(preset) / "manifest.json").is_file()
