"""The client, where nothing but NumPy and urllib3 is installed."""

import http.server
import json
import subprocess
import sys
import threading

import pytest

from realm_tf.client.answer_json import answer_json
from realm_tf.data.corpus.answer import Answer
from realm_tf.data.corpus.blocks import Block

ANSWER = Answer(
    text="Jane",
    block=Block("Jane wrote it.", "Emma", "emma", 7),
    start=0,
    end=4,
    byte_start=0,
    byte_end=4,
    retrieval_probability=0.5,
    reading_probability=0.5,
    probability=0.25,
    question="Who wrote Emma?",
    blocks=(Block("Jane wrote it.", "Emma", "emma", 7),),
    block_probabilities=(0.5,),
    block_scores=(1.0,),
    lexical_scores=(0.25,),
    alternatives=(),
    truncated=False,
    threshold=0.0,
    index_version=1,
)
ASK = """
import sys, time

class Absent:
    ALLOWED = {"numpy", "urllib3", "realm_tf"} | sys.stdlib_module_names

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in self.ALLOWED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from realm_tf import Answer, Question, RealmClient, errors, options

answer = RealmClient(sys.argv[1]).ask("Who wrote Emma?")
assert isinstance(answer, Answer)
print(answer.text, answer.block.title, time.process_time())
try:
    from realm_tf import RealmQA
except ImportError as error:
    print(error)
"""


class Service(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        reply = json.dumps({"answers": [answer_json(ANSWER)]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *args):
        pass


@pytest.fixture
def url():
    with http.server.HTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_client_asks_in_a_second_without_tensorflow(url):
    done = subprocess.run(
        [sys.executable, "-c", ASK, url],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answer, missing = done.stdout.splitlines()
    *words, seconds = answer.split()
    assert words == ["Jane", "Emma"]
    assert float(seconds) < 1.0  # of the processor: others may keep it busy
    assert missing == (
        "`realm_tf.RealmQA` needs TensorFlow and Keras. Received: keras is "
        "not installed. Install them with `pip install 'realm-tf[tf]'`."
    )
