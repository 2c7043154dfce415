import dataclasses
import re
from typing import Literal

import numpy as np
import pytest

from realm_tf.options.field_rules import check_fields, choices, limited


@dataclasses.dataclass(frozen=True)
class Options:
    count: int = 3
    seed: int = limited(0, least=0)
    rate: float = 0.5
    share: float = limited(0.5, least=0, most=1)
    floor: float | None = limited(None, least=0)
    is_on: bool = True
    mode: Literal["near", "far"] = "near"
    name: str = ""

    def __post_init__(self):
        check_fields(self)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("count", 0, "an integer of 1 or more"),
        ("count", 2.0, "an integer of 1 or more"),
        ("count", True, "an integer of 1 or more"),
        ("count", None, "an integer of 1 or more"),
        ("seed", -1, "an integer of 0 or more"),
        ("rate", 0.0, "a positive number"),
        ("rate", float("nan"), "a positive number"),
        ("rate", float("inf"), "a positive number"),
        ("rate", "1", "a positive number"),
        ("share", 1.5, "a number from 0 to 1"),
        ("floor", -0.1, "a number of 0 or more"),
        ("is_on", 1, "True or False"),
        ("mode", "here", "one of near, far"),
    ],
)
def test_values_outside_the_rule_are_refused(name, value, rule):
    message = f"`{name}` must be {rule}. Received: {name}={value!r}. Leave it"
    with pytest.raises(ValueError, match=re.escape(message)):
        Options(**{name: value})


def test_values_within_the_rules_are_taken():
    Options(np.int64(1), 0, np.float32(1), 1, 0, False, "far", "any")
    Options(rate=1, floor=None)


def test_choices_are_those_of_the_type():
    found = {f.name: choices(f) for f in dataclasses.fields(Options)}
    assert found["mode"] == ("near", "far")
    assert found["name"] == ()
