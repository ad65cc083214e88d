"""Limits of cores inside a plan: what clusters may hold together, and what jobs may run on together. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ceiling:
    """A limit of cores on what nodes of `clusters` hold together, or on what `jobs` run on together."""

    id: int
    limit: int
    used: int  # of it, also by what the plan does not see
    clusters: frozenset[int] = frozenset()
    jobs: frozenset[int] = frozenset()


class Ceilings:
    """What is left below each ceiling, as it will be when what was decided so far is done."""

    def __init__(self, ceilings: Iterable[Ceiling]) -> None:
        self.of_cluster: dict[int, list[Ceiling]] = defaultdict(list)
        self.of_job: dict[int, list[Ceiling]] = defaultdict(list)
        self.left: dict[int, int] = {}  # now; below zero where what comes is taken already
        self.coming: Counter[int] = Counter()  # cores of nodes on their way out
        for ceiling in ceilings:
            self.left[ceiling.id] = ceiling.limit - ceiling.used
            for cluster in ceiling.clusters:
                self.of_cluster[cluster].append(ceiling)
            for job in ceiling.jobs:
                self.of_job[job].append(ceiling)

    def never(self, cluster: int, job: int, cores: int) -> Ceiling | None:
        """Return the ceiling below which so many cores can never be at once, or None."""
        both = [*self.of_cluster[cluster], *self.of_job[job]]
        return next((ceiling for ceiling in both if cores > ceiling.limit), None)

    def over(self, cluster: int, cores: int, *, freed: Counter[int] | None = None) -> Ceiling | None:
        """Return the ceiling that so many more cores would go over now, or None.

        `freed`: cores by cluster that are let go, with which those that are on their way out are counted on, too.
        """
        for ceiling in self.of_cluster[cluster]:
            left = self.left[ceiling.id]
            if freed is not None:
                left += self.coming[ceiling.id] + sum(freed[other] for other in ceiling.clusters)
            if cores > left:
                return ceiling
        return None

    def over_of_job(self, job: int, cores: int) -> Ceiling | None:
        """Return the ceiling of its people that a job would go over now, or None."""
        return next((ceiling for ceiling in self.of_job[job] if cores > self.left[ceiling.id]), None)

    def take(self, cluster: int, cores: int) -> None:
        for ceiling in self.of_cluster[cluster]:
            self.left[ceiling.id] -= cores

    def take_for_job(self, job: int, cores: int) -> None:
        for ceiling in self.of_job[job]:
            self.left[ceiling.id] -= cores

    def leaves(self, cluster: int, cores: int) -> None:
        """Count on the cores of a node that goes."""
        for ceiling in self.of_cluster[cluster]:
            self.coming[ceiling.id] += cores
