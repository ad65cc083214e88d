"""Verbs over what stands elsewhere: look, attach, edit, accept a host key, detach. Each writes down who did it."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from compute import host_keys, jobs, keys, names
from compute.drivers import driver_class, kinds_with
from compute.drivers.base import Attaches, CheckState
from compute.host_keys import CHANGED, JUMP_PINNED, PINNED
from compute.models import ComputeTarget, Examination, Job
from compute.states import EndReason, JobState, ProvisioningState
from studio.errors import NotAllowedNow, NotSupported
from studio.people.actions import note
from studio.people.models import User, Workspace
from studio.seal import seal, unseal
from studio.work import queue

PASSES = {CheckState.OK.value, CheckState.WARN.value}
FAREWELL = timedelta(minutes=5)  # for runs of a detached target to end; then they count as lost


# Drafts


def begin(
    workspace: Workspace, kind: str, *, by: User, token: UUID | None = None, target: ComputeTarget | None = None
) -> Examination:
    """Return a new draft: of a target to be, or of changes to `target`. The same `token` again returns the same one."""
    attaches(kind)
    try:
        with transaction.atomic():
            draft = Examination.objects.create(workspace=workspace, kind=kind, by=by, token=token, target=target)
            if target is not None:
                draft.config = {name: value for name, value in target.config.items() if name != CHANGED}
                draft.sealed = _sealed({name: target.secret(name) for name in target.sealed}, draft)
                draft.save(update_fields=["config", "sealed"])
    except IntegrityError:
        made = Examination.objects.filter(token=token, workspace=workspace, kind=kind, by=by).first()
        if made is None:
            raise NotAllowedNow(_("This form was sent before."), _("Open it again and fill it in anew.")) from None
        return made
    return draft


def keep(
    draft: Examination, *, typed: dict[str, Any], config: dict[str, Any] | None = None,
    secrets: dict[str, str], unused: Collection[str] = (),
) -> None:  # fmt: skip
    """Keep what was typed; `config` is what it means, where the form is valid. A pinned key stays with its address."""
    draft.typed = typed
    draft.sealed = {k: v for k, v in draft.sealed.items() if k not in unused} | _sealed(secrets, draft)
    if "private_key" in secrets or "private_key" in unused:
        draft.public_key = ""
        if "private_key" in secrets and "passphrase" not in secrets:
            draft.sealed.pop("passphrase", None)  # it was another key's
    if config is not None:
        draft.config = config | _pinned(draft, config)
    draft.save(update_fields=["typed", "sealed", "config", "public_key"])


def _pinned(draft: Examination, config: dict[str, Any]) -> dict[str, Any]:
    address_of = attaches(draft.kind).address_of
    same = {PINNED: address_of(draft.config) == address_of(config)}
    same[JUMP_PINNED] = all(draft.config.get(name) == config.get(name) for name in ("jump_address", "jump_port"))
    return {pin: draft.config[pin] for pin, is_same in same.items() if is_same and draft.config.get(pin)}


def says_the_same(draft: Examination, config: dict[str, Any]) -> bool:
    """Say whether `config` is what was looked at."""
    return {k: v for k, v in draft.config.items() if k not in {PINNED, JUMP_PINNED}} == config


def make_key(draft: Examination) -> None:
    """Make an ed25519 key pair: the private half is sealed here and shown to nobody, the public half is one line."""
    private, public = keys.generate_key_pair(f"compute-studio-{draft.workspace.name}")
    keep(draft, typed=draft.typed, secrets={"private_key": private}, unused={"password", "passphrase"})
    draft.public_key = public
    draft.save(update_fields=["public_key"])


# Looks


@transaction.atomic
def look(examination: Examination) -> None:
    """Ask for a look, or for another one; what an earlier one still finds is let go."""
    now = {"round": examination.round + 1, "asked_at": timezone.now(), "started_at": None, "ended_at": None}
    Examination.objects.filter(pk=examination.pk).update(**now, checks=[])
    examination.refresh_from_db()
    queue("compute.examining.examine", examination.pk, examination.round)
    examination.moved()


@transaction.atomic
def look_again(target: ComputeTarget, *, by: User) -> Examination:
    """Look at an attached target as it stands, as a new line of its history; one that is on its way already will do."""
    target = _locked(target)
    going = target.examinations.filter(is_draft=False, ended_at=None).first()
    if going is not None:
        return going
    examination = Examination.objects.create(
        workspace=target.workspace, kind=target.kind, target=target, by=by, is_draft=False
    )
    look(examination)
    return examination


def asked_key(examination: Examination) -> dict[str, Any] | None:
    """Return the host key that waits for a person's yes, if one does."""
    return _asked(examination)[1]


def _asked(examination: Examination) -> tuple[str, dict[str, Any] | None]:
    """Return where the key that waits for a yes is going to be pinned, and the key."""
    for check in examination.checks:
        if check["key"] in {PINNED, JUMP_PINNED} and check["state"] == CheckState.ASK.value:
            return check["key"], check["facts"].get(PINNED)
    return "", None


def trust(draft: Examination, sha256: str) -> None:
    """Pin the host key that was shown, and go on with the checks."""
    pin, key = _asked(draft)
    if key is None or key.get("sha256") != sha256:
        raise host_keys.another_than_shown()
    config = draft.config | {pin: key}
    refuse_twice(draft.workspace, draft.kind, config, but=draft.target)
    draft.config = config
    draft.save(update_fields=["config"])
    look(draft)


def has_passed(examination: Examination) -> bool:
    """Say whether everything that is needed was looked at and is well; the rest of a look need not be waited for."""
    if examination.ended_at is None:
        needed = attaches(examination.kind).needed_checks(examination.config)
        if not needed or not needed <= {check["key"] for check in examination.checks}:
            return False
    if not examination.checks:
        return False
    return all(check["state"] in PASSES for check in examination.checks if check["needed"])


# Attached targets


@transaction.atomic
def attach(draft: Examination, *, by: User, name: str, description: str, tags: dict[str, str]) -> ComputeTarget:
    """Make a target of a draft whose checks passed; the same draft again returns its target.

    Raises NotAllowedNow when they did not, when the name is taken, or when the same machine is attached already.
    """
    Workspace.objects.select_for_update().get(pk=draft.workspace_id)  # one at a time: an address is looked for
    draft = Examination.objects.select_for_update(of=("self",)).select_related("workspace", "target").get(pk=draft.pk)
    if draft.target is not None:
        return draft.target
    _check_passed(draft)
    names.validate(name)
    refuse_twice(draft.workspace, draft.kind, draft.config)
    target = ComputeTarget(
        workspace=draft.workspace,
        name=name,
        kind=draft.kind,
        description=description,
        tags=tags,
        config=draft.config,
        created_by=by,
        provisioning_state=ProvisioningState.SUCCEEDED,
    )
    try:
        with transaction.atomic():
            target.save(force_insert=True)
    except IntegrityError as exc:
        raise NotAllowedNow(
            _("This workspace has a compute target named “%(name)s” already.") % {"name": name},
            _("Choose another name; upper and lower case count as the same."),
        ) from exc
    _hand_over(draft, target)
    note(target.workspace, by, "target.attach", target, kind="target", name=name, detail=_facts(target))
    target.moved()
    return target


@transaction.atomic
def save(draft: Examination, *, by: User, description: str, tags: dict[str, str]) -> ComputeTarget:
    """Give an attached target what a draft of changes holds, once its checks have passed."""
    draft = Examination.objects.select_for_update(of=("self",)).select_related("workspace", "target").get(pk=draft.pk)
    if draft.target is None:
        raise NotSupported(_("These are no changes of a target."))
    target = _locked(draft.target)
    if not draft.is_draft:
        return target
    _check_passed(draft)
    refuse_twice(target.workspace, target.kind, draft.config, but=target)
    before = _facts(target)
    target.config, target.description, target.tags = draft.config, description, tags
    target.provisioning_state, target.state_reason = ProvisioningState.SUCCEEDED, ""  # as it was just found
    target.save(update_fields=["config", "description", "tags", "provisioning_state", "state_reason", "modified_at"])
    _hand_over(draft, target)
    changes = {"before": before, "after": _facts(target)}
    note(target.workspace, by, "target.edit", target, kind="target", name=target.name, detail=changes)
    host_keys.let_go_on()
    target.moved()
    return target


def would_describe(target: ComputeTarget, *, description: str, tags: dict[str, str]) -> bool:
    """Say whether these are other words than those on the target."""
    return (target.description, target.tags) != (description, tags)


@transaction.atomic
def describe(target: ComputeTarget, *, by: User, description: str, tags: dict[str, str]) -> None:
    """Change the words on a target; its connection stays as it is."""
    target = _locked(target)
    if not would_describe(target, description=description, tags=tags):
        return
    before = {"description": target.description, "tags": target.tags}
    target.description, target.tags = description, tags
    target.save(update_fields=["description", "tags", "modified_at"])
    changes = {"before": before, "after": {"description": description, "tags": tags}}
    note(target.workspace, by, "target.describe", target, kind="target", name=target.name, detail=changes)
    target.moved()


@transaction.atomic
def detach(target: ComputeTarget, *, by: User) -> None:
    """Forget a machine or service and its credentials; it runs on. Runs that are active on it are canceled first."""
    target = _locked(target)
    target.able(Attaches)
    target.provisioning_state = ProvisioningState.DELETING
    target.state_reason = gettext_noop("%(user)s detaches it; its runs end first.") % {"user": by.username}
    target.save(update_fields=["provisioning_state", "state_reason", "modified_at"])
    note(target.workspace, by, "target.detach", target, kind="target", name=target.name)
    for job in target.jobs.active():
        detail = gettext_noop("%(user)s detached %(name)s.") % {"user": by.username, "name": target.name}
        if job.state in {JobState.PREPARING, JobState.WAITING}:
            jobs.end_unstarted(job, EndReason.CANCELED, detail)
        else:
            queue("compute.tasks.end_job", job.pk, EndReason.CANCELED, detail)
    target.moved()
    _forget_when_quiet(target)


def finish_detaching() -> None:
    """Forget the targets whose last run has ended, and those whose runs nobody can end any more."""
    leaving = ComputeTarget.objects.existing().filter(provisioning_state=ProvisioningState.DELETING)
    for target in leaving.select_related("workspace"):
        if not isinstance(target.driver, Attaches):
            continue
        if target.modified_at < timezone.now() - FAREWELL:
            for job in target.jobs.active():
                _count_as_lost(job)
        with transaction.atomic():
            _forget_when_quiet(target)


def _count_as_lost(job: Job) -> None:
    detail = gettext_noop("%(name)s was detached and could not be reached to end it.") % {"name": job.target.name}
    with transaction.atomic():
        facts = {"end_reason": EndReason.LOST, "end_detail": detail, "ended_at": timezone.now()}
        if job.move(JobState.ENDED, **facts):
            jobs.tell(job)


def _forget_when_quiet(target: ComputeTarget) -> None:
    if target.jobs.active().exists():
        return
    gone = ComputeTarget.objects.filter(pk=target.pk, deleted_at=None)
    if gone.update(deleted_at=timezone.now(), sealed={}):
        target.examinations.filter(is_draft=True).delete()
        target.moved()


# Host keys


@transaction.atomic
def accept_host_key(target: ComputeTarget, sha256: str, *, by: User) -> None:
    """Pin the new host key of a blocked target, let its runs go on, and look at it."""
    host_keys.accept(_locked(target), sha256, by=by)
    look_again(target, by=by)


def take_in(examination: Examination) -> None:
    """Let a target know what a look at it found: that it answers with another host key."""
    target = examination.target
    if target is None or target.deleted_at is not None:
        return
    for check in examination.checks:
        key = check["facts"].get(PINNED)
        if check["key"] == PINNED and check["state"] == CheckState.BAD.value and key:
            host_keys.block(target, key)
    target.moved()


# Rules


def attaches(kind: str) -> type[Attaches]:
    """Return the driver class of a kind that is attached. Raises NotSupported for any other."""
    found = driver_class(kind)
    if not issubclass(found, Attaches):
        raise NotSupported(_("“%(kind)s” is created here, not attached.") % {"kind": found.label})
    return found


def refuse_twice(workspace: Workspace, kind: str, config: dict[str, Any], *, but: ComputeTarget | None = None) -> None:
    """Raise NotAllowedNow when the same machine or service is attached to the workspace already, as whatever kind."""
    driver = attaches(kind)
    address = driver.address_of(config)
    key = config.get(PINNED, {}).get("sha256") if driver.host_key_tells else None
    telling = [one for one in kinds_with(Attaches) if attaches(one).host_key_tells] if key else []
    for other in ComputeTarget.objects.existing().filter(workspace=workspace, kind__in={kind, *telling}):
        if but is not None and other.pk == but.pk:
            continue
        if other.kind == kind and driver.address_of(other.config) == address:
            raise NotAllowedNow(
                _("%(address)s is attached already, as %(name)s.") % {"address": address, "name": other.name},
                _("Use that target, or detach it first: one machine attached twice gets in its own way."),
            )
        if key and other.config.get(PINNED, {}).get("sha256") == key:
            raise NotAllowedNow(
                _("%(address)s shows the host key of %(name)s, which is attached already: it is the same machine.")
                % {"address": address, "name": other.name},
                _("Use that target. If this is a copy of that machine, give it keys of its own: ssh-keygen -A"),
            )


def _check_passed(draft: Examination) -> None:
    if not has_passed(draft):
        raise NotAllowedNow(
            _("Not everything that is needed was found well."),
            _("Look at the checks, mend what they name, check again."),
        )


def _hand_over(draft: Examination, target: ComputeTarget) -> None:
    """Let the credentials of a draft be the target's, and the draft its first, or newest, line of history."""
    secrets = {name: unseal(text, where=draft.place_of(name)) for name, text in draft.sealed.items()}
    target.sealed = _sealed(secrets, target)
    target.save(update_fields=["sealed"])
    Examination.objects.filter(pk=draft.pk).update(target=target, is_draft=False, sealed={}, typed={}, config={})


def _sealed(secrets: dict[str, str], owner: ComputeTarget | Examination) -> dict[str, str]:
    return {name: seal(text, where=owner.place_of(name)) for name, text in secrets.items()}


def _facts(target: ComputeTarget) -> dict[str, Any]:
    """Return what the history keeps of a connection; no credential, and of the host key its fingerprint."""
    facts = {name: value for name, value in target.config.items() if name not in {PINNED, CHANGED}}
    return facts | {"sha256": target.config.get(PINNED, {}).get("sha256", ""), "credentials": sorted(target.sealed)}


def _locked(target: ComputeTarget) -> ComputeTarget:
    found = (
        ComputeTarget.objects.existing().select_for_update(of=("self",)).select_related("workspace")
        .exclude(provisioning_state=ProvisioningState.DELETING).filter(pk=target.pk).first()
    )  # fmt: skip
    if found is None:
        raise NotAllowedNow(_("%(name)s is being detached.") % {"name": target.name}, _("Attach it again."))
    return found
