"""The first lines of Python in the README run, with tiny files."""

import json
import pathlib
import re

from realm_tf.checkpoints import named_presets
from realm_tf.serving.bundle import read_bundle

README = pathlib.Path(__file__).parents[2] / "README.md"


def test_quick_start_runs(
    make_qa, cities, city_questions, tmp_path, monkeypatch, registry
):
    monkeypatch.chdir(tmp_path)
    # A small model stands in for the finished one.
    named_presets._REGISTERED.clear()
    make_qa().save_to_preset("realm_minilm_en")
    records = {
        "articles.jsonl": [
            {"id": a.document_id, "title": a.title, "text": a.text}
            for a in cities
        ],
        "questions.jsonl": [
            {"question": q.question, "answer": list(q.answers)}
            for q in city_questions
        ],
    }
    for name, lines in records.items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        pathlib.Path(name).write_text(text)
    code = re.search("```python\n(.*?)```", README.read_text("utf-8"), re.S)[1]
    assert len(code.splitlines()) == 7  # five of them, an import and a gap
    names = {}
    exec(code, names)
    answer = names["answer"]
    assert answer.text == answer.block.text[answer.start : answer.end]
    bundle = read_bundle(tmp_path / "exported")
    assert bundle.embedder_fingerprint == names["qa"].embedder_fingerprint
