"""Whose work is guaranteed and whose borrows: guarantees of cores are given out in order, to whole jobs. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Guarantee:
    """Cores that somebody is guaranteed, and the jobs that may use them: theirs."""

    id: int
    cores: int
    jobs: frozenset[int]


@dataclass(frozen=True)
class Claim:
    """A job, and the cores that it takes or asks for."""

    job: int
    cores: int


def covered(guarantees: Iterable[Guarantee], claims: Sequence[Claim]) -> frozenset[int]:
    """Return the jobs that guarantees cover, the first claims first. A job is covered whole, by one guarantee.

    Of several that would do, the one that leaves least is used, so that a person's own goes before the team's.
    """
    left = {guarantee.id: guarantee.cores for guarantee in guarantees}
    of_job: dict[int, list[int]] = {}
    for guarantee in guarantees:
        for job in guarantee.jobs:
            of_job.setdefault(job, []).append(guarantee.id)
    found = set()
    for claim in claims:
        fitting = [one for one in of_job.get(claim.job, []) if left[one] >= claim.cores]
        if fitting:
            left[min(fitting, key=lambda one: (left[one], one))] -= claim.cores
            found.add(claim.job)
    return frozenset(found)
