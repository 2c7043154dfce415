def test_questions_are_split_and_counted(tmp_path, run, fail):
    source = tmp_path / "NQ-open.train.jsonl"
    source.write_text(
        "".join(
            f'{{"question": "question {i}", "answer": ["a"]}}\n'
            for i in range(50)
        )
    )
    out = tmp_path / "out.jsonl"
    facts = run("questions", source, "--resplit", "-o", out, "--json").json
    assert facts["num_questions"] == 50
    assert sum(facts["splits"].values()) == 50
    assert set(facts["splits"]) == {"train", "dev"}
    assert facts["published"]["WebQuestions"] == [3417, 361, 2032]
    assert facts["matches"] == []
    facts = run("questions", source, "--split", "test", "-o", out, "--json")
    assert facts.json["splits"] == {"test": 50}
    both = ("--resplit", "--split", "x")
    assert "exclude" in fail("questions", source, *both, "-o", out, code=2)


def test_a_beir_folder_is_read(tmp_path, run):
    folder = tmp_path / "mini"
    (folder / "qrels").mkdir(parents=True)
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "who?"}\n')
    (folder / "qrels/test.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq\td1\t1\nq\td2\t2\nr\td2\t1\n"
    )
    out = tmp_path / "out.jsonl"
    facts = run("questions", folder, "-o", out, "--json").json
    assert facts["splits"] == {"test": 1}
    assert facts["left_out"] == {"queries that are not there": 1}
    assert '"passage_ids": ["d1", "d2"]' in out.read_text()
