"""Query services of one bundle that are killed at random: loss and lag.

    python benchmarks/many_servers.py --bundle bundle --seconds 180

Starts a writer, a second service that waits for its place, and two readers,
all as `realm-tf serve` with the models in their processes. Clients change
documents, and ask the services in turn; what has no reply is sent to the next,
as a load balancer would. All the while a service is killed (-9) and started
again, the writer as often as another, and the writer folds or republishes the
index. Every reply is checked: its texts must belong together, and a change
must be shown once it was acknowledged for as long as `--lag_limit`. At the end
every service must show every acknowledged change.

The lag of a service is the time from the acknowledgement of a change to the
beginning of the first request that shows it. It is measured on every service,
the writer too, with one clock. Changes a bundle that can be thrown away.
"""

import argparse
import collections
import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import queue
import random
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import machine
import numpy as np
import urllib3

from realm_tf.data import Corpus

LIVE = "live-"  # of the ids of documents that come and go
NUM_LIVE = 16
CODE = "from realm_tf.cli import main; main()"
OPTIONS = {"writer": [], "waiting": [], "reader": ["--reader"]}
ROLES = ["writer", "waiting", "reader", "reader"]
TOP_K = 60  # blocks of a search; more than there are live documents
DEADLINE = 120.0  # seconds until a change or question is given up


def main() -> None:
    args = parse_arguments()
    print(machine.describe())
    os.environ.setdefault("REALM_TF_TOKEN", secrets.token_urlsafe())
    servers = [
        Server(args.bundle, number, role) for number, role in enumerate(ROLES)
    ]
    try:
        for server in servers:
            server.start()
            server.wait()
        run(servers, args)
    finally:
        for server in servers:
            server.kill()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bundle", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--lag_limit", type=float, default=15, help="seconds")
    parser.add_argument("--clients", type=int, default=2, help="who ask")
    parser.add_argument("--pause", type=float, default=0.2, help="of a client")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def run(servers: list["Server"], args: argparse.Namespace) -> None:
    ledger, end = Ledger(args), threading.Event()
    cluster = Cluster(servers, ledger)
    probes = [Probe(cluster, server) for server in servers]
    work = [
        *(lambda p=probe: p.measure(end) for probe in probes),
        *(lambda n=n: ask(cluster, args, n, end) for n in range(args.clients)),
        lambda: change(cluster, probes, args, end),
        lambda: fold(cluster, args, end),
    ]
    threads = [threading.Thread(target=one, daemon=True) for one in work]
    for thread in threads:
        thread.start()
    kills = chaos(cluster, args)
    end.set()
    for thread in threads:
        thread.join(2 * DEADLINE)
        assert not thread.is_alive()
    report(cluster, kills, probes)


class Server:
    """A process of `realm-tf serve` at a port that stays its own."""

    def __init__(self, bundle: pathlib.Path, number: int, role: str):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.name = f"{number} ({role})"
        self.command = [sys.executable, "-c", CODE, "serve"]
        self.command += ["--bundle", str(bundle), "--port", str(self.port)]
        self.command += OPTIONS[role]
        self.num_starts = 0
        self.process: Any = None

    def start(self) -> None:
        self.num_starts += 1
        self.process = subprocess.Popen(self.command, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def wait(self) -> None:
        """Waits until it is ready."""
        end = time.monotonic() + DEADLINE
        while True:
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                if send(self.url, "GET", "/readyz").status == 200:
                    return
            assert self.process.poll() is None, f"{self.name} ended"
            assert time.monotonic() < end, f"{self.name} is not ready"
            time.sleep(0.1)


POOL = urllib3.PoolManager(maxsize=32, retries=False, timeout=40)


def send(url: str, method: str, path: str, body: Any = None) -> Any:
    token = os.environ["REALM_TF_TOKEN"]
    headers = {"authorization": f"Bearer {token}"}
    return POOL.request(method, url + path, json=body, headers=headers)


@dataclasses.dataclass
class Change:
    """A document added, or deleted; acknowledged or not."""

    revision: int
    is_there: bool
    acknowledged: float | None = None


class Ledger:
    """What was acknowledged when, and what replies may hold."""

    def __init__(self, args: argparse.Namespace):
        self.limit = args.lag_limit
        self.changes: dict[str, list[Change]] = collections.defaultdict(list)
        self.counts: collections.Counter[str] = collections.Counter()
        self.lock = threading.Lock()
        self.texts = collections.defaultdict(set)
        corpus = Corpus.open(args.bundle / "corpus")
        for block in corpus:
            self.texts[block.document_id].add((block.title, block.text))

    def count(self, name: str) -> None:
        with self.lock:
            self.counts[name] += 1

    def check(self, blocks: list[dict[str, Any]], start: float) -> None:
        """Counts blocks that are mixed or too old, of a request of `start`."""
        for block in blocks:
            name, title = block["document_id"], block["title"]
            if not name.startswith(LIVE):
                if (title, block["text"]) not in self.texts[name]:
                    self.count("mixed replies")
                continue
            numbers = set(re.findall(r"revision(\d+)", block["text"]))
            names = set(re.findall(rf"{LIVE}\d+", block["text"]))
            if numbers != {title} or names != {name}:
                self.count("mixed replies")
            elif self.is_over(name, int(title), start - self.limit):
                self.count("too old")

    def is_over(self, name: str, revision: int, moment: float) -> bool:
        """Whether a later change was acknowledged before a moment."""
        return any(
            c.revision > revision
            and c.acknowledged is not None
            and c.acknowledged < moment
            for c in list(self.changes[name])
        )

    def is_shown(self, name: str, blocks: list[dict[str, Any]]) -> bool:
        """Whether blocks show the last change of a document."""
        last = self.changes[name][-1]
        titles = [b["title"] for b in blocks if b["document_id"] == name]
        return titles == ([str(last.revision)] if last.is_there else [])


class Cluster:
    """Sends what has no reply to the next server."""

    def __init__(self, servers: list[Server], ledger: Ledger):
        self.servers = servers
        self.ledger = ledger
        self.turn = itertools.count()
        self.writer = servers[0].url

    def ask(self, path: str, body: Any) -> tuple[Any, float]:
        """A good reply, and when its request began."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            server = self.servers[next(self.turn) % len(self.servers)]
            start = time.monotonic()
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                reply = send(server.url, "POST", path, body)
                if reply.status == 200:
                    self.ledger.count("questions answered")
                    return json.loads(reply.data), start
                if reply.status != 503:
                    self.ledger.count(f"status {reply.status}")
                # One that is starting says 503, as its /readyz does.
            self.ledger.count("sent to the next")
            time.sleep(0.02)
        self.ledger.count("questions without an answer")
        return None, start

    def write(self, method: str, path: str, body: Any = None) -> bool:
        """Sends a change to the writer, until it is acknowledged."""
        end, is_unknown = time.monotonic() + DEADLINE, False
        while time.monotonic() < end:
            try:
                reply = send(self.writer, method, path, body)
            except urllib3.exceptions.HTTPError:
                is_unknown = True
                server = self.servers[next(self.turn) % len(self.servers)]
                self.writer = server.url
                time.sleep(0.05)
                continue
            if reply.status == 200:
                return True
            if reply.status == 404 and is_unknown:
                return True  # deleted, though the reply was lost
            if reply.status == 409:
                named = json.loads(reply.data).get("writer")
                self.writer = named or self.servers[0].url
            elif reply.status != 503:
                self.ledger.count(f"status {reply.status}")
            time.sleep(0.05)
        self.ledger.count("changes without an acknowledgement")
        return False


def search(url: str, name: str) -> list[dict[str, Any]] | None:
    """Blocks that a server finds for a live document; None without reply."""
    body = {"question": f"What is {name} of?", "top_k": TOP_K}
    with contextlib.suppress(urllib3.exceptions.HTTPError):
        reply = send(url, "POST", "/v1/search", body)
        if reply.status == 200:
            return json.loads(reply.data)["results"][0]["blocks"]
    return None


class Probe:
    """Measures when a server shows a change."""

    def __init__(self, cluster: Cluster, server: Server):
        self.ledger = cluster.ledger
        self.server = server
        self.lags: list[float] = []
        self.todo: queue.Queue[tuple[str, Change]] = queue.Queue(maxsize=1)

    def measure(self, end: threading.Event) -> None:
        while not end.is_set():
            try:
                name, change = self.todo.get(timeout=0.5)
            except queue.Empty:
                continue
            num_starts = self.server.num_starts
            while not end.is_set():
                start = time.monotonic()
                blocks = search(self.server.url, name)
                is_last = self.ledger.changes[name][-1] is change
                if not is_last or num_starts != self.server.num_starts:
                    break
                if blocks is None:
                    break  # it was killed, or is starting
                self.ledger.check(blocks, start)
                if self.ledger.is_shown(name, blocks):
                    self.lags.append(max(0.0, start - change.acknowledged))
                    break
                time.sleep(0.02)


def change(
    cluster: Cluster,
    probes: list[Probe],
    args: argparse.Namespace,
    end: threading.Event,
) -> None:
    """Adds, replaces and deletes documents."""
    generator, changes = random.Random(args.seed), cluster.ledger.changes
    names = [f"{LIVE}{number}" for number in range(NUM_LIVE)]
    for revision in itertools.count(1):
        if end.is_set():
            return
        # None that is still probed: it would not be seen any more.
        names.append(names.pop(generator.randrange(NUM_LIVE // 2)))
        name, old = names[-1], changes[names[-1]]
        is_there = not (old and old[-1].is_there and generator.random() < 0.5)
        one = Change(revision, is_there)
        old.append(one)
        if is_there:
            text = f"revision{revision} is of {name}. {name}: revision"
            document = {"id": name, "title": str(revision)}
            document["text"] = f"{text}{revision}."
            body = {"documents": [document]}
            is_good = cluster.write("POST", "/v1/documents", body)
        else:
            is_good = cluster.write("DELETE", f"/v1/documents?id={name}")
        if is_good:
            one.acknowledged = time.monotonic()
            cluster.ledger.count("changes acknowledged")
            for probe in probes:
                with contextlib.suppress(queue.Full):
                    probe.todo.put_nowait((name, one))
        time.sleep(args.pause)


def ask(
    cluster: Cluster,
    args: argparse.Namespace,
    number: int,
    end: threading.Event,
) -> None:
    """Asks, and checks what the services say."""
    generator = random.Random(args.seed + number + 1)
    while not end.is_set():
        name = f"{LIVE}{generator.randrange(NUM_LIVE)}"
        body = {"question": f"Which revision is of {name}?"}
        reply, start = cluster.ask("/v1/ask", body)
        if reply is not None:
            (answer,) = reply["answers"]
            block = answer["block"]
            cluster.ledger.check([*answer["blocks"], block], start)
            found = block["text"][answer["start"] : answer["end"]]
            if found != answer["answer"]:
                cluster.ledger.count("mixed replies")
        time.sleep(args.pause)


def fold(
    cluster: Cluster, args: argparse.Namespace, end: threading.Event
) -> None:
    """New versions: compacts the index, or republishes the newest."""
    for number in itertools.count():
        if end.wait(15.0):
            return
        url = cluster.writer
        with contextlib.suppress(urllib3.exceptions.HTTPError, KeyError):
            body: dict[str, Any] = {"compact": True}
            if number % 2:
                status = json.loads(send(url, "GET", "/v1/index").data)
                body = {"roll_back_to": status["version"]}
            if send(url, "POST", "/v1/index", body).status == 200:
                cluster.ledger.count("versions published")


def chaos(cluster: Cluster, args: argparse.Namespace) -> dict[str, list[float]]:
    """Kills servers; returns seconds until a writer is there, by victim."""
    generator = random.Random(args.seed)
    kills: dict[str, list[float]] = {"writer": [], "other": []}
    end = time.monotonic() + args.seconds
    while time.monotonic() < end:
        time.sleep(generator.uniform(2.0, 6.0))
        writer = next(s for s in cluster.servers if role(s) == "writer")
        others = [s for s in cluster.servers if s is not writer]
        is_writer = len(kills["writer"]) <= len(kills["other"])
        victim = writer if is_writer else generator.choice(others)
        start = time.monotonic()
        victim.kill()
        rest = [s for s in cluster.servers if s is not victim]
        while not any(role(s) == "writer" for s in rest):
            assert time.monotonic() < start + DEADLINE, "no writer"
            time.sleep(0.02)
        seconds = time.monotonic() - start
        kills["writer" if is_writer else "other"].append(seconds)
        time.sleep(generator.uniform(0.0, 2.0))
        victim.start()
        victim.wait()
    return kills


def role(server: Server) -> str:
    with contextlib.suppress(urllib3.exceptions.HTTPError):
        return json.loads(send(server.url, "GET", "/healthz").data)["role"]
    return ""


def lost(cluster: Cluster) -> int:
    """Acknowledged changes that a server does not show at the end."""
    time.sleep(cluster.ledger.limit)
    count = 0
    for server in cluster.servers:
        for name, changes in cluster.ledger.changes.items():
            if changes and changes[-1].acknowledged is not None:
                blocks = search(server.url, name)
                assert blocks is not None, f"{server.name} is away"
                count += not cluster.ledger.is_shown(name, blocks)
    return count


def report(
    cluster: Cluster, kills: dict[str, list[float]], probes: list[Probe]
) -> None:
    counts = cluster.ledger.counts
    print("\n| what | number |\n|---|---:|")
    print(f"| kills of the writer | {len(kills['writer'])} |")
    print(f"| kills of another service | {len(kills['other'])} |")
    print(f"| acknowledged changes lost | {lost(cluster)} |")
    for name in ("mixed replies", "too old", "questions without an answer"):
        print(f"| {name} | {counts.pop(name, 0)} |")
    for name, count in sorted(counts.items()):
        print(f"| {name} | {count:,} |")
    print("\n| lag, s | changes | median | 95 % | worst |")
    print("|---|---:|---:|---:|---:|")
    for title, lags in rows(probes, kills):
        median, high, worst = np.percentile(lags or [np.nan], [50, 95, 100])
        values = f"{median:.2f} | {high:.2f} | {worst:.2f}"
        print(f"| {title} | {len(lags)} | {values} |")


def rows(
    probes: list[Probe], kills: dict[str, list[float]]
) -> Iterator[tuple[str, list[float]]]:
    for probe in probes:
        yield f"service {probe.server.name}", probe.lags
    yield "all", [lag for probe in probes for lag in probe.lags]
    yield "a new writer after a kill", kills["writer"]


if __name__ == "__main__":
    main()
