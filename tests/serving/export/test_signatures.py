"""The tables and requests of export/README.md are those of the graphs."""

import collections
import json
import pathlib
import re

import pytest

from realm_tf.options import ExportOptions
from realm_tf.serving import bundle as bundles
from realm_tf.serving.export.module_builder import ModuleBuilder

GUIDE = pathlib.Path(__file__).parents[3] / "export/README.md"
FINGERPRINTS = {"embedder": "e", "reader": "r", "tokenizer": "t"}
MODELS = (*bundles.MODEL_NAMES[:3], bundles.QA)


@pytest.fixture(scope="module")
def signatures(qa):
    """Model -> signature -> graph."""
    builder = ModuleBuilder(
        qa.parts, qa.index, ExportOptions(num_answers=2), FINGERPRINTS
    )
    found = {}
    for model in MODELS:
        with builder.module(model) as module:
            found[model] = module.signatures
    return found


def tables():
    """`inputs` and `outputs`: (model, signature) -> name -> type, axes."""
    text = GUIDE.read_text("utf-8").partition("## Signatures")[2]
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)[:2]
    for table in tables:
        found = collections.defaultdict(dict)
        models = names = ""
        for line in table.splitlines()[2:]:
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            models, names = cells[0] or models, cells[1] or names
            (output,) = re.findall(r"`(\w+)`", cells[2])
            kind, axes = re.fullmatch(r"(\w+) `\[(.*)\]`", cells[3]).groups()
            for model in re.findall(r"`(\w+)`", models):
                for name in re.findall(r"`(\w+)`", names):
                    rank = len(axes.split(","))
                    found[model, name][output] = (kind, rank)
        yield found


def described(tensors):
    return {
        name: (tensor.dtype.name, tensor.shape.rank)
        for name, tensor in tensors.items()
    }


def test_guide_lists_all_inputs_and_outputs(signatures):
    inputs, outputs = tables()
    graphs = {
        (model, name): graph
        for model, functions in signatures.items()
        for name, graph in functions.items()
    }
    assert set(inputs) == set(outputs) == set(graphs)
    for key, graph in graphs.items():
        specs = graph.structured_input_signature[0]
        assert inputs[key] == described({spec.name: spec for spec in specs})
        assert outputs[key] == described(graph.structured_outputs), key


def test_requests_of_the_guide_name_the_inputs(signatures):
    text = GUIDE.read_text("utf-8").partition("## Signatures")[2]
    requests = re.findall(r"curl \$at/(\w+):predict -d '(.*?)'", text, re.S)
    assert {model for model, _ in requests} == set(MODELS)
    for model, body in requests:
        request = json.loads(body)
        graph = signatures[model][
            request.get("signature_name", "serving_default")
        ]
        specs = graph.structured_input_signature[0]
        assert set(request["inputs"]) == {spec.name for spec in specs}
