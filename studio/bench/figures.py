"""What a measurement gives, and what is said of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Samples:
    values: list[float]
    notes: list[str] = field(default_factory=list)  # for people: what to compare it with


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of the ordered values that `share` of them do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
