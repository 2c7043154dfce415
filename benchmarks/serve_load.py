"""Load on the query service: speed, lost requests and memory.

    python benchmarks/serve_load.py --bundle bundle --questions qa.jsonl.gz \
        --split test --clients 1 8 64 --rate 5 --churn

Starts `realm-tf serve` with the models in its process, and asks it over HTTP.
Closed loop: so many clients, each asks again once it is answered. Open loop:
questions come at random moments, so many a second on average; latency counts
from the moment they come. With --churn, index versions are swapped and
documents added, replaced and deleted meanwhile. Every reply is checked: what
it holds must be of one index version. Prints Markdown; stages are read from
the service's histograms, whose buckets bound their precision.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import json
import os
import random
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import machine
import numpy as np
import urllib3

from realm_tf import RealmClient
from realm_tf.data import read_questions

STAGES = ("embed", "search", "read", "ask")
CHURN = "churn-"  # of the ids of documents that come and go
CHURN_DOCUMENTS = 8
BASELINE = 30  # blocks; more than a question can lose to CHURN_DOCUMENTS


def main() -> None:
    args = parse_arguments()
    questions = [
        q.question for q in read_questions(args.questions, split=args.split)
    ][: args.num_questions]
    with running_service(args) as (url, process):
        load = Load(url, questions)
        print(machine.describe())
        index = load.client.index_status()
        print(
            f"{index['num_blocks']:,} blocks, {index['searcher']}, "
            f"{len(questions)} distinct questions\n"
        )
        head = ["load", "requests", "failed", "mixed", "questions/s"]
        head += ["client p50/p95/p99, ms"]
        head += [f"{stage} p50/p95/p99, ms" for stage in STAGES]
        print(" | ".join([*head, "memory, MB"]))
        print(" | ".join(["---"] * (len(head) + 1)))
        for count in args.clients:
            load.report(
                f"{count} clients", lambda c=count: load.closed(c, args)
            )
        if args.rate:
            load.report(f"{args.rate:g}/s", lambda: load.open(args))
        if args.churn:
            churn = Churn(url, args)
            with churn.running():
                count = args.clients[-1]
                load.report(
                    f"{count} clients, churn",
                    lambda: load.closed(count, args, churn.is_done),
                )
            print(f"\n{churn.swaps} swaps, {churn.updates} document updates")
        process.send_signal(signal.SIGTERM)
        print(f"\nexit code after SIGTERM: {process.wait(60)}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--questions", nargs="+", required=True)
    parser.add_argument("--split", help="questions of this split only")
    parser.add_argument("--num_questions", type=int, default=200)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=30, help="per load")
    parser.add_argument(
        "--requests", type=int, default=0, help="per load, in place of seconds"
    )
    parser.add_argument("--rate", type=float, default=0, help="open loop, 1/s")
    parser.add_argument("--churn", action="store_true")
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--updates", type=int, default=1000)
    return parser.parse_args()


@contextlib.contextmanager
def running_service(args: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    code = "from realm_tf.cli import main; main()"
    os.environ.setdefault("REALM_TF_TOKEN", secrets.token_urlsafe())
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--bundle", args.bundle]
        + ["--port", "0", "--timeout", "120"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        url = process.stderr.readline().split()[-1]
        threading.Thread(
            target=drain, args=(process.stderr,), daemon=True
        ).start()
        client = RealmClient(url, timeout=120)
        while not client.is_ready():
            assert process.poll() is None
            time.sleep(0.2)
        yield url, process
    finally:
        process.kill()


def drain(stream: Any) -> None:
    for line in stream:
        sys.stderr.write(line)


@dataclasses.dataclass
class Outcome:
    """What came of the requests of one load."""

    seconds: list[float] = dataclasses.field(default_factory=list)
    failures: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    mixed: int = 0


class Load:
    """Asks a service, and checks what it says."""

    def __init__(self, url: str, questions: list[str]):
        self.url = url
        self.questions = questions
        self.client = RealmClient(url, timeout=120)
        self.pool = urllib3.PoolManager(maxsize=512, retries=False, timeout=120)
        found = self.client.search(questions, BASELINE)
        self.baseline = {
            question: [block.text for block, _ in blocks]
            for question, blocks in zip(questions, found, strict=True)
        }

    def ask(self, question: str, outcome: Outcome, start: float) -> None:
        # Not `RealmClient`, which would retry.
        try:
            reply = self.pool.request(
                "POST", f"{self.url}/v1/ask", json={"question": question}
            )
        except urllib3.exceptions.HTTPError as error:
            outcome.failures[type(error).__name__] += 1
            return
        outcome.seconds.append(time.perf_counter() - start)
        if reply.status != 200:
            outcome.failures[str(reply.status)] += 1
            return
        (answer,) = json.loads(reply.data)["answers"]
        outcome.mixed += not self.is_consistent(answer)

    def is_consistent(self, answer: dict[str, Any]) -> bool:
        """Whether texts, offsets and ranks can be of one index version."""
        block = answer["block"]
        if block["text"][answer["start"] : answer["end"]] != answer["answer"]:
            return False
        lasting = []
        for block in answer["blocks"]:
            if block["document_id"].startswith(CHURN):
                stamps = set(re.findall(r"\d+", block["text"]))
                if len(stamps) != 1 or block["title"] != stamps.pop():
                    return False
            else:
                lasting.append(block["text"])
        return lasting == self.baseline[answer["question"]][: len(lasting)]

    def closed(
        self,
        count: int,
        args: argparse.Namespace,
        is_done: Callable[[], bool] | None = None,
    ) -> Outcome:
        outcome, end = Outcome(), time.monotonic() + args.seconds
        left = iter(range(args.requests or sys.maxsize))
        questions = itertools.cycle(self.questions)
        lock = threading.Lock()

        def client() -> None:
            while args.requests or is_done or time.monotonic() < end:
                with lock:
                    if next(left, None) is None:
                        return
                    question = next(questions)
                if is_done and is_done():
                    return
                self.ask(question, outcome, time.perf_counter())

        run_threads(client, count)
        return outcome

    def open(self, args: argparse.Namespace) -> Outcome:
        outcome, generator = Outcome(), random.Random(0)
        count = args.requests or round(args.rate * args.seconds)
        due = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(256) as executor:
            for question in itertools.islice(
                itertools.cycle(self.questions), count
            ):
                due += generator.expovariate(args.rate)
                time.sleep(max(0.0, due - time.perf_counter()))
                executor.submit(self.ask, question, outcome, due)
        return outcome

    def report(self, name: str, run: Callable[[], Outcome]) -> None:
        """Runs a load and prints a line of the table."""
        before, start = self.metrics(), time.perf_counter()
        outcome = run()
        seconds = time.perf_counter() - start
        after = self.metrics()
        memory = (after["memory"] / 1e6, before["memory"] / 1e6)
        cells = [
            name,
            f"{len(outcome.seconds):,}",
            str(sum(outcome.failures.values())),
            str(outcome.mixed),
            f"{len(outcome.seconds) / seconds:.1f}",
            milliseconds(np.percentile(outcome.seconds, [50, 95, 99])),
            *(
                milliseconds(quantiles(after[stage] - before[stage]))
                for stage in STAGES
            ),
            f"{memory[1]:.0f} to {memory[0]:.0f}",
        ]
        print(" | ".join(cells), flush=True)
        for kind, count in outcome.failures.items():
            print(f"failed: {kind} {count} times", file=sys.stderr)

    def metrics(self) -> dict[str, Any]:
        """Counts in the buckets of each stage, and resident memory."""
        reply = self.pool.request("GET", f"{self.url}/metrics")
        text = reply.data.decode()
        (memory,) = re.findall(
            r"^process_resident_memory_bytes (.*)$", text, re.M
        )
        found: dict[str, Any] = {"memory": float(memory)}
        for stage in STAGES:
            name = f'realm_stage_seconds_bucket{{le="(.*)",stage="{stage}"}}'
            lines = re.findall(f"^{name} (.*)$", text, re.M)
            found[stage] = Buckets([(float(le), float(n)) for le, n in lines])
        return found


class Buckets:
    """Counts up to each bound of a histogram."""

    def __init__(self, counts: list[tuple[float, float]]):
        self.counts = counts

    def __sub__(self, other: "Buckets") -> "Buckets":
        earlier = dict(other.counts)
        return Buckets([(b, n - earlier.get(b, 0.0)) for b, n in self.counts])


def quantiles(buckets: Buckets) -> list[float]:
    """Seconds at 50, 95 and 99 percent, linear inside a bucket."""
    values = []
    for share in (0.5, 0.95, 0.99):
        wanted = share * (buckets.counts[-1][1] if buckets.counts else 0.0)
        low, before, value = 0.0, 0.0, float("nan")
        for bound, count in buckets.counts:
            if wanted and count >= wanted:
                high = bound if np.isfinite(bound) else low
                part = (wanted - before) / max(count - before, 1.0)
                value = low + part * (high - low)
                break
            low, before = bound, count
        values.append(value)
    return values


def milliseconds(seconds: Any) -> str:
    return " / ".join(f"{1e3 * value:.0f}" for value in seconds)


class Churn:
    """Swaps index versions and changes documents, evenly mixed."""

    def __init__(self, url: str, args: argparse.Namespace):
        self.client = RealmClient(
            url, timeout=120, token=os.environ.get("REALM_TF_TOKEN")
        )
        self.args = args
        self.swaps = self.updates = 0
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        generator, live = random.Random(0), set()
        each = max(1, self.args.updates // max(1, self.args.swaps))
        for number in range(self.args.updates):
            name = f"{CHURN}{generator.randrange(CHURN_DOCUMENTS)}"
            if name in live and number % 3 == 0:
                self.client.delete_documents([name])
                live.remove(name)
            else:
                text = f"In {number} it was {number}. In {number} it is."
                title = str(number)
                self.client.add_documents(
                    [{"id": name, "title": title, "text": text}]
                )
                live.add(name)
            self.updates += 1
            if number % each == each - 1:
                version = self.client.index_status()["version"]
                self.client.switch_index(roll_back_to=version)
                self.swaps += 1
        if live:
            self.client.delete_documents(sorted(live))

    def is_done(self) -> bool:
        return not self.thread.is_alive()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self.thread.start()
        yield
        self.thread.join()


def run_threads(function: Callable[[], None], count: int) -> None:
    with concurrent.futures.ThreadPoolExecutor(count) as executor:
        for done in [executor.submit(function) for _ in range(count)]:
            done.result()


if __name__ == "__main__":
    main()
