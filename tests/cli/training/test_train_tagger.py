import json


def test_tagger_is_trained_scored_and_used(
    corpus, fail, run, tiny_bert, tmp_path
):
    file = tmp_path / "ner.jsonl"
    records = [
        {
            "tokens": ["London", "is", "old"],
            "tags": ["B-LOC", "O", "O"],
            "split": split,
        }
        for split in ("train", "train", "test")
    ]
    file.write_text("".join(json.dumps(r) + "\n" for r in records), "utf-8")
    command = ("train-tagger", "--bert", tiny_bert, "--data", file)
    command = (*command, "--output", tmp_path / "tagger")
    facts = run(*command, "--epochs", 1, "--batch-size", 2, "--json").json
    assert facts["num_sentences"] == 2
    assert 0 <= facts["ner"]["f1"] <= 1
    assert "exists" in fail(*command, code=2)
    spans = ("spans", "--corpus", corpus, "--output", tmp_path / "spans")
    facts = run(*spans, "--tagger", tmp_path / "tagger", "--json").json
    assert facts["num_spans"] >= 2
