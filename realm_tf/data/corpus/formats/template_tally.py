"""How often which template of a dump was kept or left out."""

import json
from collections import Counter
from collections.abc import Iterator

_NUM_NAMED = 50  # of each kind; those that are left are the rare ones


class TemplateTally:
    """Counts of the templates within running text, by their names.

    Infoboxes, tables and references, and what is in them, do not count.

    Attributes:
        kept: name -> how often what it prints was kept.
        left_out: name -> how often it was left out.
    """

    def __init__(self) -> None:
        self.kept: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()

    def add(self, name: str, is_kept: bool) -> None:
        """Counts one template."""
        (self.kept if is_kept else self.left_out)[name] += 1

    def add_encoded(self, data: bytes) -> None:
        """Counts those of another tally, as `encoded` wrote it."""
        kept, left_out = json.loads(data)
        self.kept.update(kept)
        self.left_out.update(left_out)

    def encoded(self) -> bytes:
        """The counts as JSON."""
        return json.dumps([self.kept, self.left_out]).encode()

    def facts(self) -> dict[str, dict[str, int]]:
        """The most frequent names, for a report; empty without templates."""
        named = {
            "templates_kept": dict(_ordered(self.kept)),
            "templates_left_out": dict(_ordered(self.left_out)),
        }
        return {key: counts for key, counts in named.items() if counts}


def _ordered(counts: Counter[str]) -> Iterator[tuple[str, int]]:
    # Equal counts by name: parts may come in any order.
    in_order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    yield from in_order[:_NUM_NAMED]
