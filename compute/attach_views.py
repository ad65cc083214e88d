"""Attaching what a team has: a form for each kind, the connection doctor beside it, and the same for later changes."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import uuid4

from django.contrib import messages
from django.forms import BoundField
from django.http import HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from compute import attaching
from compute.attach_forms import AttachForm, SecretField
from compute.detail_views import target_of
from compute.drivers import DRIVERS, driver_class, kinds_with
from compute.drivers.base import Attaches
from compute.forms import token_of
from compute.models import ComputeTarget, Examination
from studio.errors import NotThere
from studio.http import StudioRequest, wants_partial
from studio.people.permissions import Right, require

LONGEST = 4000  # characters of a field that are kept with a draft


def attachable() -> list[tuple[str, Any]]:
    """Return the kinds that can be attached, with the words of the menu."""
    return [(kind, driver_class(kind).label) for kind in kinds_with(Attaches)]


@require_http_methods(["GET", "HEAD", "POST"])
def attach_target(request: StudioRequest, kind: str) -> HttpResponse:
    """Show the form of a kind, look at what was typed, attach it. `?draft=` goes on with one."""
    if kind not in DRIVERS or not issubclass(driver_class(kind), Attaches):
        raise NotThere(_("Nothing of the kind “%(kind)s” can be attached here.") % {"kind": kind[:40]})
    return _Page(request, kind).answer()


@require_http_methods(["GET", "HEAD", "POST"])
def edit_connection(request: StudioRequest, name: str) -> HttpResponse:
    """Show the same form for an attached target, whose credentials stay unless new ones are typed."""
    target = target_of(request, name)
    target.able(Attaches)
    return _Page(request, target.kind, target).answer()


@dataclass
class _Page:
    """One request to the form of a kind, for a target to be or for one that is."""

    request: StudioRequest
    kind: str
    target: ComputeTarget | None = None

    def answer(self) -> HttpResponse:
        if self.request.method != "POST":
            return self._shown()
        require(self.request.user, Right.ATTACH_COMPUTE, self.request.workspace)
        draft = self.draft or attaching.begin(
            self.request.workspace, self.kind,
            by=self.request.user, token=token_of(self.request.POST), target=self.target,
        )  # fmt: skip
        self.__dict__["draft"] = draft
        if draft.target is not None and not draft.is_draft:  # the form was sent twice
            return self._to_target(draft.target)
        action = self.request.POST.get("action", "check")
        if action == "trust":
            attaching.trust(draft, self.request.POST.get("sha256", ""))
            return self._again("doctor")
        if action == "key":
            attaching.keep(draft, typed=self._typed(), secrets={})
            attaching.make_key(draft)
            return self._again("key")
        return self._taken(draft, wants_it=action == "attach")

    def _taken(self, draft: Examination, *, wants_it: bool) -> HttpResponse:
        """Keep what was typed; look at it, or go on when that was done already."""
        form = self._form(self.request.POST)
        valid = form.is_valid()
        secrets = form.secrets()
        if not valid:  # a credential that is well need not be given again
            attaching.keep(draft, typed=self._typed(), secrets=secrets)
            form.kept = frozenset(draft.sealed)
            return self._shown(form)
        cleaned, config = form.cleaned_data, form.config()
        words = {"description": cleaned["description"], "tags": cleaned["tags"]}
        same = attaching.says_the_same(draft, config) and not secrets
        if wants_it and same and draft.asked_at:
            by = self.request.user
            if self.target is not None:
                return self._to_target(attaching.save(draft, by=by, **words))
            return self._to_target(attaching.attach(draft, by=by, name=cleaned["name"], **words))
        if self.target is not None and same and not draft.asked_at and attaching.would_describe(self.target, **words):
            attaching.describe(self.target, by=self.request.user, **words)
            draft.delete()
            return self._to_target(self.target)
        attaching.refuse_twice(self.request.workspace, self.kind, config, but=self.target)
        attaching.keep(draft, typed=self._typed(), config=config, secrets=secrets, unused=form.unused())
        attaching.look(draft)
        if wants_it:
            messages.info(self.request, _("What you changed is looked at first."))
        return self._again("doctor")

    @cached_property
    def draft(self) -> Examination | None:
        """Return the draft that the page goes on with; each person has their own."""
        pk = self.request.POST.get("draft") or self.request.GET.get("draft") or ""
        if not pk.isdecimal() or len(pk) > 18:
            return None
        found = Examination.objects.select_related("workspace", "target__workspace").filter(
            pk=int(pk), workspace=self.request.workspace, kind=self.kind, by=self.request.user
        )
        draft = found.first()
        if draft is None or (self.target is not None and draft.target_id != self.target.pk):
            raise NotThere(_("This draft is gone."), _("Begin again: drafts are kept for a day."))
        return draft

    def _form(self, data: QueryDict | None = None) -> AttachForm:
        kind_form: Any = driver_class(self.kind).form
        kept = self.draft.sealed if self.draft else self.target.sealed if self.target else ()
        name = self.target.name if self.target else ""
        form: AttachForm = kind_form(self.request.workspace, data, name=name, kept=kept, initial=self._initial())
        return form

    def _initial(self) -> dict[str, Any]:
        known: dict[str, Any] = {}
        if self.target is not None:
            tags = "\n".join(f"{key}={value}" for key, value in self.target.tags.items())
            known = self.target.config | {"description": self.target.description, "tags": tags}
        return known | (self.draft.typed if self.draft else {})

    def _typed(self) -> dict[str, Any]:
        """Return the form's fields as they were typed, as far as they are text; credentials are left out."""
        fields = [name for name, field in self._form().fields.items() if not isinstance(field, SecretField)]
        return {name: _as_text(self.request.POST.get(name, "")) for name in fields}

    def _shown(self, form: AttachForm | None = None) -> HttpResponse:
        draft, driver = self.draft, driver_class(self.kind)
        if draft is not None and draft.target is not None and not draft.is_draft:
            return self._to_target(draft.target)
        facts: dict[str, Any] = {
            "nav": "compute",
            "kind": self.kind,
            "label": driver.label,
            "target": self.target,
            "examination": draft,
            "passed": draft is not None and attaching.has_passed(draft),
            "asked_key": attaching.asked_key(draft) if draft else None,
            "here": self._here(),
        }
        if wants_partial(self.request) and self.request.GET.get("part") == "doctor" and draft is not None:
            return render(self.request, "compute/_doctor.html", facts)
        form = form or self._form()
        facts |= {
            "form": form,
            "groups": (groups := _groups(form)),
            "is_unfolded": any(one.says_something for one in groups["folded"]),
            "needs": driver.needs if issubclass(driver, Attaches) else (),
            "notice": driver.notice if issubclass(driver, Attaches) else "",
            "takes_keys": "private_key" in form.fields,
            "token": self.request.POST.get("token") or str(uuid4()),
        }
        return render(self.request, "compute/attach.html", facts, status=422 if form.is_bound else 200)

    def _here(self) -> str:
        space = self.request.workspace.name
        if self.target is not None:
            return reverse("compute:connection", args=[space, self.target.name])
        return reverse("compute:attach", args=[space, self.kind])

    def _again(self, anchor: str) -> HttpResponse:
        draft = self.draft
        return HttpResponseRedirect(f"{self._here()}?draft={draft.pk if draft else ''}#{anchor}")

    def _to_target(self, target: ComputeTarget) -> HttpResponse:
        said = _("%(name)s was changed.") if self.target else _("%(name)s is attached. Runs can be submitted to it.")
        if self.request.method == "POST":
            messages.success(self.request, said % {"name": target.name})
        return redirect("compute:detail", workspace=self.request.workspace.name, name=target.name)


def _as_text(typed: str) -> str:
    return typed[:LONGEST].replace("\0", "").encode("utf-8", "replace").decode()


@dataclass(frozen=True)
class _Field:
    """A field of the form, and what makes it of use: the value of another one."""

    bound: BoundField
    with_field: str = ""
    with_value: str = ""
    is_kept: bool = False

    @property
    def says_something(self) -> bool:
        """Say whether it is wrong, or was changed from what it begins with."""
        said = str(self.bound.value() or "")
        return bool(self.bound.errors) or said not in ("", str(self.bound.field.initial))


def _groups(form: AttachForm) -> dict[str, list[_Field]]:
    """Return the form's fields in three heaps: how it is called, the connection, and what few need."""
    own = [name for name in form.fields if name not in AttachForm.base_fields]
    for name in {"private_key", "password"} & form.shown_with.keys() & form.fields.keys() - form.kept:
        form.fields[name].required = True  # of those that show, it is; which one, the form itself has checked
    about = [name for name in AttachForm.base_fields if name in form.fields]

    def fields(names: list[str]) -> list[_Field]:
        return [_Field(form[n], *form.shown_with.get(n, ("", "")), is_kept=n in form.kept) for n in names]

    return {
        "about": fields([n for n in about if n == "name"]),
        "own": fields([n for n in own if n not in form.folded and n != "understood"]),
        "folded": fields([n for n in own if n in form.folded] + [n for n in about if n != "name"]),
    }
