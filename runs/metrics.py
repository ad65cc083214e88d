"""What a run measures: lines that its script appends to outputs/metrics.jsonl, read while it still writes.

A line is {"name": "loss", "value": 0.1, "step": 3, "time": 1763846400.5}; "step" and "time" may be left out. A name
that comes again is a series. The file is the script's, so nothing in it is believed: what is no such line is skipped
and counted, and of what is too much a part is kept, the smallest and the largest value of each stretch among it.

Source: facts of `Run.log` of azureml-core 1.61: a repeated name is a vector, and once a step is used all values need
one.
"""

import json
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from compute.models import Job
from runs.models import Attempt, Run
from runs.outputs import folder_of, open_output
from studio.errors import NotThere

FILE = "outputs/metrics.jsonl"
MOST_SERIES = 50  # of one run
MOST_POINTS = 2000  # of one series that are shown; twice as many are held while it grows
LONGEST_LINE = 1000  # bytes
LONGEST_NAME = 100  # characters
AT_ONCE = 32 * 1024 * 1024  # bytes that one look reads; the next one goes on from there
PIECE = 256 * 1024
LARGEST_STEP = 2**53  # what a browser counts exactly
MOST_KEPT = 256  # runs whose reading goes on from where it was
MOST_HELD = 400_000  # points of all of them, about 50 MB


class Point(NamedTuple):
    step: float
    value: float


@dataclass
class Series:
    """The values of one name, thinned as they come: of each `stride` values the smallest and the largest are kept."""

    name: str
    has_steps: bool
    count: int = 0
    last: Point | None = None
    _stride: int = 1
    _kept: list[Point] = field(default_factory=list)
    _open: list[Point] = field(default_factory=list)  # smallest and largest of the stretch that is not full yet
    _filled: int = 0

    def __len__(self) -> int:
        return len(self._kept) + len(self._open)

    def add(self, point: Point) -> None:
        self.count += 1
        self.last = point
        self._open = _extremes([*self._open, point])
        self._filled += 1
        if self._filled >= self._stride:
            self._kept += self._open
            self._open, self._filled = [], 0
        if len(self._kept) >= 2 * MOST_POINTS:
            self._stride *= 2 if self._stride > 1 else 4
            self._kept = _thinned(self._kept)

    def points(self) -> list[Point]:
        """Return what is kept, at most MOST_POINTS and the last one."""
        found = [*self._kept, *self._open]
        while len(found) > MOST_POINTS:
            found = _thinned(found)
        return found if self.last is None or (found and found[-1] == self.last) else [*found, self.last]


def _extremes(points: list[Point]) -> list[Point]:
    """Return the smallest and the largest of the points, in their order; one where they are the same."""
    low, high = min(points, key=lambda p: p.value), max(points, key=lambda p: p.value)
    if low is high:
        return [low]
    return [low, high] if points.index(low) < points.index(high) else [high, low]


def _thinned(points: list[Point]) -> list[Point]:
    return [kept for at in range(0, len(points), 4) for kept in _extremes(points[at : at + 4])]


class Reading:
    """How far the file of one attempt was read, and what was found in it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.begin(0)

    def begin(self, inode: int) -> None:
        """Forget what was read: the file is another one, or was cut shorter."""
        self.inode, self.offset, self.rest = inode, 0, b""
        self.is_overlong = False  # the line that is being read
        self.series: OrderedDict[str, Series] = OrderedDict()
        self.skipped = 0

    @property
    def held(self) -> int:
        """Return how many points this keeps in memory."""
        return sum(len(series) for series in list(self.series.values()))

    def look(self, job: Job) -> None:
        """Read what was written since the last look. A file that is not there holds nothing."""
        try:
            file, size = open_output(job, FILE)
        except NotThere:
            self.begin(0)
            return
        with file:
            inode = os.fstat(file.fileno()).st_ino
            if inode != self.inode or size < self.offset:
                self.begin(inode)
            file.seek(self.offset)
            until = min(size, self.offset + AT_ONCE)
            while self.offset < until and (piece := file.read(min(PIECE, until - self.offset))):
                self.offset += len(piece)
                self.take(piece)

    def take(self, piece: bytes) -> None:
        """Take the lines that are whole by now; the rest waits for its end."""
        *lines, rest = (self.rest + piece).split(b"\n")
        for line in lines:
            if self.is_overlong:
                self.is_overlong = False
            elif line.strip():
                self.skipped += not self.keep(line)
        if len(rest) > LONGEST_LINE:
            self.skipped += not self.is_overlong
            self.is_overlong, rest = True, b""
        self.rest = rest

    def keep(self, line: bytes) -> bool:
        """Keep what a line says; say whether it was one of ours."""
        found = parsed(line)
        if found is None:
            return False
        name, value, step = found
        series = self.series.get(name)
        if series is None:
            if len(self.series) == MOST_SERIES:
                return False
            series = self.series[name] = Series(name, has_steps=step is not None)
        if series.has_steps != (step is not None):
            return False
        series.add(Point(float(series.count + 1) if step is None else step, value))
        return True


def parsed(line: bytes) -> tuple[str, float, float | None] | None:
    """Return name, value and step of a line; None for anything else."""
    if len(line) > LONGEST_LINE:
        return None
    try:
        said: Any = json.loads(line)
    except (ValueError, RecursionError):  # no UTF-8, no JSON, a number of too many digits
        return None
    if not isinstance(said, dict):
        return None
    name, value, step = said.get("name"), _number(said.get("value")), said.get("step")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or value is None:
        return None
    if step is None:
        return name, value, None
    step = _number(step)
    return None if step is None or abs(step) > LARGEST_STEP else (name, value, step)


def _number(value: Any) -> float | None:
    """Return a finite number as a float; None for what is none, and for a number that no float holds."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


_readings: OrderedDict[str, Reading] = OrderedDict()
_door = threading.Lock()


def _reading_of(job: Job) -> Reading:
    with _door:
        key = str(job.folder)
        reading = _readings.setdefault(key, Reading())
        _readings.move_to_end(key)
        held = sum(one.held for one in _readings.values())
        while len(_readings) > 1 and (len(_readings) > MOST_KEPT or held > MOST_HELD):
            held -= _readings.popitem(last=False)[1].held
        return reading


@dataclass(frozen=True)
class Curve:
    """One series as it is shown."""

    name: str
    points: list[Point]
    count: int  # of the values there were
    last: float


@dataclass(frozen=True)
class Metrics:
    """What a run measured until now."""

    curves: list[Curve]
    skipped: int  # lines that were none of ours

    def curve(self, name: str) -> Curve | None:
        return next((one for one in self.curves if one.name == name), None)


def last_job(run: Run) -> Job | None:
    """Return the job of a run's newest attempt."""
    return Job.objects.filter(run_attempt__run=run).order_by("-run_attempt__number").first()


def of_job(job: Job) -> Metrics:
    """Return what one attempt measured until now, read on from where this process was."""
    reading = _reading_of(job)
    with reading.lock:
        reading.look(job)
        curves = [Curve(s.name, s.points(), s.count, s.last.value) for s in reading.series.values() if s.last]
        return Metrics(curves, reading.skipped)


def of_run(run: Run) -> Metrics:
    """Return what a run measured in its newest attempt."""
    job = last_job(run)
    return Metrics([], 0) if job is None else of_job(job)


def last_values(runs: Iterable[Run]) -> dict[int, dict[str, float]]:
    """Return the newest value of every metric of each run's newest attempt, by the run's key."""
    attempts = Attempt.objects.filter(run__in=list(runs)).select_related("job").order_by("number")
    jobs = {attempt.run_id: attempt.job for attempt in attempts}
    return {pk: {curve.name: curve.last for curve in of_job(job).curves} for pk, job in jobs.items()}


def stamp(job: Job) -> tuple[int, int]:
    """Return size and time of change of the file, in nanoseconds: others than before mean that there is more."""
    try:
        facts = (folder_of(job) / FILE).lstat()
    except OSError:
        return 0, 0
    return facts.st_size, facts.st_mtime_ns


def last_value(job: Job, name: str) -> float | None:
    """Return the newest value of one metric of an attempt, or None."""
    reading = _reading_of(job)
    with reading.lock:
        reading.look(job)
        series = reading.series.get(name)
        return series.last.value if series is not None and series.last is not None else None
