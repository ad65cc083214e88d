"""What the kinds reached over SSH have in common: a job is a detached process there, with its log and outputs here."""

import shlex
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from compute import launch, logs, processes, remote
from compute.drivers import ssh_checks
from compute.drivers.base import Attaches, Check, Executes, Handle, JobReport, Phase, Streams, TargetReport
from compute.drivers.sign_in import SignsIn
from compute.models import Job
from compute.states import EndReason, ProvisioningState
from studio.errors import StudioError, TargetUnreachable

NO_ENVIRONMENT = 78  # exit code of a start that could not make its environment
FULL = 28  # ENOSPC
NO_ROOM = 1_000_000  # bytes that are left where a program that failed had none


class OverSsh(SignsIn, Attaches, Executes, Streams):
    """A machine that a user signs in to. Kinds say what is run there, in `command`."""

    host_key_tells = True
    questions: ClassVar[ssh_checks.Questions] = {}  # once signed in, in this order
    least_grace: ClassVar[float] = 0.0  # seconds between TERM and KILL that its jobs need

    @classmethod
    def address_of(cls, config: dict[str, Any]) -> str:
        return f"{config.get('address', '')}:{config.get('ssh_port', 22)}"

    def checks(self) -> Iterator[Check]:
        return ssh_checks.checks(self, self.questions)

    @classmethod
    def needed_checks(cls, config: dict[str, Any]) -> frozenset[str]:
        return ssh_checks.needed(cls.questions, config)

    def refresh(self) -> TargetReport:
        try:
            self.link().ask("missing", wanted=[])
        except StudioError as exc:
            return TargetReport(ProvisioningState.FAILED, exc.message[:500])
        return TargetReport(ProvisioningState.SUCCEEDED)

    def why_not_now(self) -> str:
        try:
            self.link()
        except TargetUnreachable as exc:
            return gettext_noop("%(problem)s It starts once the machine answers.") % {"problem": exc.message}
        except StudioError as exc:
            return exc.message
        return ""

    # ----- a job

    @abstractmethod
    def command(self, job: Job, link: remote.Link) -> tuple[list[str], list[tuple[str, str]]]:
        """Return what is run in the job's working directory there, and the files [(name, text)] it needs for it."""

    def submit(self, job: Job) -> Handle:
        link, folder = self.link(), f"{job.run_id}/{job.attempt}"
        files = list(launch.files_of(job.folder / "rank-0"))
        try:
            sent = remote.send_files(link, files)
            launch.say(job, f"{sent:,} bytes sent to {self.target.name}, the others of {len(files)} files were there")
            link.ask("lay", folder=folder, files=[(path, sha, mode) for path, sha, mode, _file in files], patience=120)
            argv, texts = self.command(job, link)
            launch.say(job, f"$ {shlex.join(argv)}")
            spec = self._spec(job, link, argv)
            handle = link.ask("start", folder=folder, spec=spec, shepherd=link.facts["shepherd"], files=texts)
        except OSError as exc:
            raise self._problem(exc) from exc
        except ValueError as exc:
            raise StudioError(_("%(name)s refused: %(problem)s") % {"name": self.target.name, "problem": exc}) from exc
        known = {name: handle[name] for name in ("pid", "start_time", "boot_id")}
        return {"far": folder, **known} | ({"container": spec["container"]} if spec["container"] else {})

    def follow(self, handle: Handle, after: int) -> Iterator[JobReport]:
        link, folder, at = self.link(), handle["far"], after
        known = {name: handle[name] for name in ("pid", "start_time", "boot_id")}
        try:
            facts = link.ask("look", folder=folder, handle=known)
            report = self._without_container(self.completed(self._report(facts, handle), link, folder), link, handle)
            going = report if report.phase != Phase.ENDED else JobReport(Phase.RUNNING)
            most = remote.FIRST_PIECE
            while at < int(facts["log_size"]):
                piece = link.ask("read", folder=folder, path="log", at=at, most=most)
                if not piece:
                    break
                yield replace(going, output=piece)
                at, most = at + len(piece), min(2 * most, remote.PIECE)
            remote.fetch(link, folder, Path(settings.JOB_DIR) / folder / "rank-0")
            if report.phase == Phase.ENDED:
                link.ask("brought", folder=folder)
        except OSError as exc:
            raise self._problem(exc) from exc
        yield report

    def completed(self, report: JobReport, link: remote.Link, folder: str) -> JobReport:
        """Return what is known of a job's processes, with what is known of it beyond them."""
        return report

    def container(self, argv: list[str]) -> str:
        """Return the name of the container that a command runs in, which ends with the job; empty: it runs in none."""
        return ""

    def _without_container(self, report: JobReport, link: remote.Link, handle: Handle) -> JobReport:
        """End the container of a job whose shepherd, who would have, is gone without a word."""
        name = handle.get("container")
        if not name or report.phase != Phase.ENDED or report.reason not in {EndReason.LOST, EndReason.PREEMPTED}:
            return report
        _code, said = link.ask("run", argv=["docker", "rm", "--force", name], seconds=30, patience=40)
        return replace(report, receipt=report.receipt | {"containers": [name]}) if name in said.split() else report

    def cancel(self, handle: Handle, because: EndReason) -> None:
        known = {name: handle[name] for name in ("pid", "start_time", "boot_id")}
        self.link().ask("end", folder=handle["far"], handle=known, reason=because.value)

    def listen(self, job: Job, call: Callable[[], object]) -> None:
        name, link = f"{job.run_id}.{job.attempt}", self.link()
        if name not in link.followers:
            logs.path(launch.log_key(job))
            link.follow(name, remote.Follower(launch.log_key(job), job.handle["far"], call))

    def variables(self, job: Job, link: remote.Link) -> dict[str, Any]:
        """Return the environment variables of a job there, the studio's own over those that were asked for."""
        top = f"{link.facts['root']}/runs/{job.run_id}/{job.attempt}"
        own = {
            "PATH": link.facts["path"],
            "HOME": link.facts["home"],
            "USER": self.config["username"],
            "TMPDIR": f"{top}/tmp",  # noqa: S108 - a folder of the run's own
            "MASTER_ADDR": "127.0.0.1",
        }
        return launch.variables_of(job) | own

    def _spec(self, job: Job, link: remote.Link, argv: list[str]) -> dict[str, Any]:
        """Return what the shepherd there is told, in the words of `processes.ProcessSpec`."""
        top = f"{link.facts['root']}/runs/{job.run_id}/{job.attempt}"
        return {
            "argv": argv,
            "cwd": f"{top}/rank-0",
            "env": {name: str(value) for name, value in self.variables(job, link).items()},
            "log": f"{top}/log",
            "tag": f"{job.run_id}.{job.attempt}",
            "cpus": [],
            "memory_bytes": None,
            "max_seconds": job.max_seconds,
            "grace_seconds": max(settings.GRACE_SECONDS, self.least_grace),
            "nice": 0,
            "container": self.container(argv),
        }

    def _report(self, facts: dict[str, Any], handle: Handle) -> JobReport:
        """Judge what the far side knows of a job."""
        told = processes.told(facts.get("exit") or {})
        if told is None:
            if facts.get("alive"):
                return JobReport(Phase.RUNNING)
            if facts.get("boot_id") != handle["boot_id"]:
                detail = gettext_noop("The machine restarted while it ran.")
                return JobReport(Phase.ENDED, reason=EndReason.PREEMPTED, detail=detail)
            detail = gettext_noop("Neither its processes nor its exit code are there any more.")
            return JobReport(Phase.ENDED, reason=EndReason.LOST, detail=detail)
        reason, detail = told.reason, told.detail
        if reason == EndReason.LOST and facts.get("boot_id") != handle["boot_id"]:
            reason, detail = EndReason.PREEMPTED, gettext_noop("The machine restarted while it ran.")
        elif processes.may_be_going_down(told):
            return JobReport(Phase.RUNNING)
        if facts.get("killed") and told.exit_code == -9 and reason == EndReason.EXITED:
            reason, detail = EndReason.MEMORY, f"the kernel ended it: {str(facts['killed'])[:300]}"
        elif told.exit_code and reason == EndReason.EXITED and _is_full(facts):
            detail = gettext_noop("The disk of %(name)s is full.") % {"name": self.target.name}
        elif told.exit_code == NO_ENVIRONMENT and reason == EndReason.EXITED:
            reason, detail = EndReason.ENVIRONMENT, gettext_noop("the last lines of its log say why")
        receipt = {"ranks": [told.receipt]}
        code, began = told.exit_code, told.started_at
        return JobReport(Phase.ENDED, exit_code=code, reason=reason, detail=detail, receipt=receipt, started_at=began)

    def _problem(self, exc: OSError) -> StudioError:
        if exc.errno == FULL:
            return TargetUnreachable(*remote.disk_full(self.account()))
        said = {"name": self.target.name, "problem": exc.strerror or exc}
        return TargetUnreachable(_("%(name)s could not do it: %(problem)s.") % said, _("Check its connection."))


def _is_full(facts: dict[str, Any]) -> bool:
    """Say whether a machine told that its disk is full. What it says is its word."""
    left = facts.get("free_bytes")
    return isinstance(left, int) and left < NO_ROOM
