import threading

import pytest

from realm_tf import RealmClient
from realm_tf.client import realm_client as client_module
from realm_tf.errors import (
    NotWriterError,
    ServiceUnavailableError,
    UnknownDocumentError,
)

QUESTIONS = ["When was the school of Rome founded?", "who?", "Oslo"]


@pytest.fixture
def client(server):
    return RealmClient(server.url, token="secret")


def without_sentences(answer):
    """What a local answer has when it has been sent."""
    import dataclasses

    def bare(block):
        return dataclasses.replace(
            block, sentence_starts=(0,), article_starts=(0,)
        )

    def bare_span(span):
        return dataclasses.replace(span, block=bare(span.block))

    return dataclasses.replace(
        bare_span(answer),
        blocks=tuple(map(bare, answer.blocks)),
        alternatives=tuple(map(bare_span, answer.alternatives)),
    )


def test_answers_are_those_of_the_local_model(client, served_qa, rounded):
    answers = client.predict(QUESTIONS, num_retrieved=4, num_alternatives=2)
    expected = served_qa.predict(QUESTIONS, num_retrieved=4, num_alternatives=2)
    assert answers == rounded(map(without_sentences, expected))
    assert answers[0].index_version == 1


def test_one_question_has_one_answer(client, served_qa):
    answer = client.ask("who?", threshold=0.99)
    assert answer.text == served_qa.ask("who?").text
    assert not answer.found


def test_many_questions_go_in_parts(client, served_qa):
    answers = client.predict(["who?"] * 70)
    assert {a.text for a in answers} == {served_qa.ask("who?").text}
    assert len(answers) == 70 and client.predict([]) == []


def test_blocks_are_searched(client, served_qa):
    (found,) = client.search(["who?"], 3)
    expected = served_qa.search(["who?"], 3)
    assert [block.block_id for block, _ in found] == (
        expected.block_ids[0].tolist()
    )
    assert [score for _, score in found] == expected.scores[0].tolist()


def test_documents_are_added_and_deleted(client):
    count = client.index_status()["num_blocks"]
    client.add_documents([{"id": str(n), "text": "Sofia."} for n in range(40)])
    assert client.index_status()["num_blocks"] == count + 40
    client.delete_documents(map(str, range(40)))
    assert client.index_status()["num_blocks"] == count
    with pytest.raises(UnknownDocumentError, match="unknown"):
        client.delete_documents(["0"])


def test_documents_are_sent_in_parts_that_are_taken(client, monkeypatch):
    monkeypatch.setattr(client_module, "_MOST_BYTES", 1000)
    monkeypatch.setattr(client_module, "_MOST_QUERY_BYTES", 30)
    sent, send = [], client._send
    monkeypatch.setattr(
        client, "_send", lambda *args, **o: sent.append(args) or send(*args)
    )
    texts = ["Sofia." + " " * 390] * 3 + ["Sofia." + " " * 1100] + ["Oslo."]
    client.add_documents(
        [{"id": f"ä{n}", "text": text} for n, text in enumerate(texts)]
    )
    parts = [len(body["documents"]) for _, _, body in sent]
    assert parts == [2, 1, 1, 1]
    sent.clear()
    client.delete_documents(f"ä{n}" for n in range(5))
    assert [path.count("id=") for _, path in sent] == [2, 2, 1]
    client.delete_documents([])
    assert len(sent) == 3


def test_late_documents_are_not_sent_again(server, backend, monkeypatch):
    client = RealmClient(server.url, token="secret", timeout=0.5, num_retries=3)
    go, tried, try_once = threading.Event(), [], client._try
    monkeypatch.setattr(
        client, "_try", lambda *args: tried.append(args) or try_once(*args)
    )
    backend.fault = lambda model: go.wait(60)
    with pytest.raises(ServiceUnavailableError, match="within 0.5 s"):
        client.add_documents([{"id": "late", "text": "Sofia."}])
    go.set()
    assert len(tried) == 1
    assert client.timeout < RealmClient(server.url).timeout == 40


def test_full_disk_of_the_service_is_an_error_of_its_own(
    client, server, monkeypatch
):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(server.service.index, "add", fail)
    with pytest.raises(OSError, match="No space left"):
        client.add_documents([{"id": "1", "text": "Sofia."}])


def test_index_is_rolled_back(client):
    assert client.switch_index(roll_back_to=1)["version"] == 2
    assert client.switch_index()["version"] == 2


def test_documents_are_folded_in(client, server):
    client.add_documents([{"id": "new", "text": "Sofia."}])
    status = client.compact_index()
    assert (status["version"], status["corpus"]) == (2, "corpus-2")
    with pytest.raises(ServiceUnavailableError, match="within 1e-06 s"):
        client.compact_index(timeout=1e-6)


def test_mistakes_are_the_local_errors(client):
    with pytest.raises(TypeError, match="Use `predict` for several"):
        client.ask(["who?"])
    with pytest.raises(TypeError, match="must be a list of texts"):
        client.predict("who?")
    with pytest.raises(ValueError, match="letter or a digit"):
        client.ask("?")
    with pytest.raises(ValueError, match="from 1 to 100"):
        client.ask("who?", num_retrieved=1000)
    with pytest.raises(ValueError, match="`url` must be"):
        RealmClient("127.0.0.1:8600")
    with pytest.raises(ValueError, match="`ModelServerClient`"):
        RealmClient("grpc://127.0.0.1:8500")


def test_token_is_sent(start_server):
    server = start_server(token="abc", is_local=False)
    document = {"id": "1", "text": "Sofia."}
    with pytest.raises(PermissionError, match="bearer token"):
        RealmClient(server.url).add_documents([document])
    RealmClient(server.url, token=" abc\n").add_documents([document])
    with pytest.raises(ValueError, match="printable ASCII"):
        RealmClient(server.url, token="geheim\u00e4")


def test_client_waits_until_the_service_is_ready(start_server, backend, broken):
    backend.fault = broken
    server = start_server(ready=False, failures_to_open=1000)
    client = RealmClient(server.url, num_retries=5)
    assert not client.is_ready()

    def repair():
        backend.fault = lambda model: None

    threading.Timer(0.5, repair).start()
    assert client.ask("who?").text
    assert client.is_ready()


def test_client_gives_up_in_the_end(start_server, backend, broken):
    backend.fault = broken
    server = start_server(ready=False)
    server.wait(lambda: "away" in server.service.problem)
    with pytest.raises(ServiceUnavailableError, match="away|left alone"):
        RealmClient(server.url, num_retries=0).ask("who?")


def test_what_is_no_service_is_said(model_server):
    with pytest.raises(ServiceUnavailableError, match="No query service"):
        RealmClient("http://127.0.0.1:1", num_retries=1).ask("who?")
    model_server.garbage = b"<html>"
    url = f"http://127.0.0.1:{model_server.rest_port}"
    with pytest.raises(ServiceUnavailableError, match="No query service"):
        RealmClient(url, num_retries=0).index_status()


def test_reader_of_the_index_names_who_changes_it(server, start_server):
    server.wait(lambda: server.service.role.take())
    reader = start_server(reader=True)
    client = RealmClient(reader.url, token="secret")
    for change in (
        lambda: client.add_documents([{"id": "a", "text": "Rome is old."}]),
        lambda: client.delete_documents(["a"]),
        lambda: client.switch_index(),
        lambda: client.compact_index(),
    ):
        with pytest.raises(NotWriterError, match="to the writer, process"):
            change()
    assert client.ask("who?").text
