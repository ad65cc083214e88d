"""Every URL and every socket, walked as every role, as a stranger and as nobody.

DOORS and SOCKETS are the tables of who may do what. A URL or socket that is not in its table fails, and so does an
entry whose URL is gone: whoever adds a page adds its line here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.db import transaction
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from studio.people.permissions import Role
from studio.sockets import sockets
from tests.sockets import Socket
from tests.studio.world import Things, World

# ---------- Who there is ----------
MEMBERS = frozenset(role.value for role in Role)
RUNNERS = frozenset({"DataScientist", "Contributor", "Owner"})
COMPUTE = frozenset({"ComputeOperator", "Contributor", "Owner"})
EDITORS = frozenset({"Contributor", "Owner"})
OWNERS = frozenset({"Owner"})
ASKERS = MEMBERS - {"Reader"}
DASHBOARDS = frozenset({"DataScientist", "Contributor", "Owner"})
OUTSIDE = frozenset({"stranger", "administrator"})  # of the workspace
ADMINISTRATOR = frozenset({"administrator"})
SIGNED_IN = MEMBERS | OUTSIDE
EVERYBODY = SIGNED_IN | {"nobody"}
UUID = "33333333-3333-4333-8333-333333333333"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


Sent = dict[str, Any] | bytes


@dataclass(frozen=True)
class Way:
    """One method of a URL: who may, what they are answered, and what is sent."""

    who: frozenset[str] = MEMBERS
    answer: int = 200
    sends: Sent | Callable[[Things], Sent] = field(default_factory=dict)  # a form, or JSON as bytes
    others: dict[str, int] = field(default_factory=dict)  # who → the answer, where it is not `answer`
    headers: dict[str, str] = field(default_factory=dict)
    query: str = ""  # of a GET

    def answer_for(self, who: str) -> int:
        return self.others.get(who, self.answer)

    def body(self, things: Things) -> tuple[bytes, str]:
        """Return what is sent, and its type."""
        said = self.sends(things) if callable(self.sends) else self.sends
        if isinstance(said, bytes):
            return said, "application/json"
        return encode_multipart(BOUNDARY, said), MULTIPART_CONTENT


@dataclass(frozen=True)
class Door:
    """A URL: what stands in for its arguments, as attributes of Things, and a Way for each method it takes."""

    takes: dict[str, str] = field(default_factory=dict)
    GET: Way | None = None
    POST: Way | None = None
    PUT: Way | None = None
    PATCH: Way | None = None
    DELETE: Way | None = None
    fixed: dict[str, Any] = field(default_factory=dict)  # arguments that name nothing of a workspace

    def ways(self) -> Iterator[tuple[str, Way]]:
        return ((method, way) for method in METHODS if (way := getattr(self, method)))


def form(get: Way, post: Way) -> Door:
    """Return the door of a form of the accounts library, which takes PUT for POST."""
    return Door(GET=get, POST=post, PUT=post)


def _submitted(things: Things) -> dict[str, Any]:
    return {
        "token": str(uuid4()),
        "experiment": "digits",
        "target": "local",
        "node_count": "1",
        "source": "paste",
        "code": "print('hello')\n",
        "code_name": "train.py",
        "environment": "interpreter",
        "max_duration": "30 d",
        "restarts": "3",
    }


def _files(things: Things) -> bytes:
    return json.dumps(
        {"files": [{"path": "train.py", "size": 9, "sha256": hashlib.sha256(b"print(1)\n").hexdigest()}]}
    ).encode()


def _cluster(things: Things) -> dict[str, Any]:
    answers = {"name": "new-one", "token": str(uuid4()), "vm_size": "Standard_D1_v2", "priority": "Dedicated"}
    return answers | {"type": "CPU", "min_nodes": "0", "max_nodes": "1", "idle_seconds": "120"}


def _machine(things: Things) -> dict[str, Any]:
    answers = {"token": str(uuid4()), "name": "new-lab", "address": "new.example", "action": "check"}
    return answers | {"authentication": "key", "private_key": "a key"}


def _webhook(things: Things) -> dict[str, Any]:
    answers = {"name": "new-one", "format": "json", "events": "run.failed", "language": "en", "is_on": "on"}
    return answers | {"address": "https://1.1.1.1/hook"}


PROVIDER: dict[str, Any] = {
    "name": "Contoso", "issuer": "https://login.example/", "client_id": "studio",
    "scopes": "openid", "groups_claim": "groups",
}  # fmt: skip

# ---------- The table of URLs ----------
PAGE = Door(GET=Way())
RUN = {"run_id": "run"}
TARGET = {"name": "cluster"}
ATTACHED = {"name": "attached"}
WEBHOOK = {"pk": "webhook"}
DASHBOARD = {"pk": "dashboard"}
TILE = DASHBOARD | {"tile": "tile"}
AT_THE_GATE = {"nobody": 200}  # pages before sign-in; who is in already is sent on

DOORS: dict[str, Door] = {
    "start": Door(GET=Way(SIGNED_IN, 302, others={"administrator": 200})),  # who is in no workspace yet
    "healthz": Door(GET=Way(EVERYBODY)),
    "badge": Door({"token": "badge_token"}, GET=Way(EVERYBODY)),  # what it shows, and to whom no more: test_badges.py
    "badge_text": Door({"token": "badge_token"}, GET=Way(EVERYBODY)),
    "make_badge": Door(
        POST=Way(EDITORS, 302, lambda things: {"kind": "run", "name": things.run, "days": "30"}),
    ),
    "revoke_badge": Door({"pk": "badge"}, POST=Way(EDITORS, 302)),
    "metrics": Door(GET=Way(EVERYBODY, 401)),  # what a token opens: tests/api/test_metrics.py
    "api_page": Door(GET=Way(SIGNED_IN)),
    "api": Door(  # all of it: tests/api/test_every_operation.py
        fixed={"rest": "v1/me"}, GET=Way(EVERYBODY, 200, others={"nobody": 401})
    ),
    "profile": Door(GET=Way(SIGNED_IN), POST=Way(SIGNED_IN, 302, {"first_name": "A", "theme": "dark"})),
    "choose_mail": Door(POST=Way(SIGNED_IN, 302, {"events": "run.failed", "least_minutes": "10"})),
    "unsubscribe": Door(  # good ones: notifications/test_mail.py
        fixed={"token": "guessed"}, GET=Way(EVERYBODY, 410), POST=Way(EVERYBODY, 410)
    ),
    "end_session": Door(POST=Way(SIGNED_IN, 302)),
    "sign_in_by_link": Door(
        fixed={"token": "guessed"}, GET=Way(EVERYBODY, 410), POST=Way(EVERYBODY, 410)
    ),  # what a good token opens: test_people_views.py
    "join": Door(
        {"token": "invitation_token"},
        GET=Way(EVERYBODY),
        # Members are in already; nobody chooses a password that is too short here.
        POST=Way(
            EVERYBODY,
            409,
            {"username": "dora", "password": "x"},
            others={"stranger": 302, "administrator": 302, "nobody": 422},
        ),
    ),
    # ----- A workspace -----
    "home": PAGE,
    "search": PAGE,
    "activity": Door(GET=Way(EDITORS)),
    "export_activity": Door(GET=Way(EDITORS)),
    "members": PAGE,
    "settings": PAGE,
    "set_allowances": Door(POST=Way(OWNERS, 302, {"allow": "other-linux"})),
    "add_member": Door(POST=Way(OWNERS, 302, {"who": "cleo", "role": "Reader"})),
    "edit_member": Door({"pk": "member"}, POST=Way(OWNERS, 302, {"role": "Owner"})),
    "make_team": Door(POST=Way(OWNERS, 302, {"name": "Detection"})),
    "edit_team": Door({"pk": "team"}, POST=Way(OWNERS, 302, {"name": "Detection"})),
    "tokens": Door(GET=Way(), POST=Way(MEMBERS, 200, {"name": "nightly", "preset": "read", "days": "30"})),
    "revoke_token": Door({"pk": "api_token"}, POST=Way(MEMBERS, 404, others={"Owner": 302})),  # somebody else's
    "edit_invitation": Door({"pk": "invitation"}, POST=Way(OWNERS, 302, {"action": "revoke"})),
    # ----- Notifications -----
    "notifications:webhooks": PAGE,
    "notifications:new": Door(GET=Way(OWNERS), POST=Way(OWNERS, 200, _webhook)),
    "notifications:webhook": Door(WEBHOOK, GET=Way(OWNERS), POST=Way(OWNERS, 302, _webhook)),
    "notifications:test": Door(WEBHOOK, POST=Way(OWNERS)),  # an address inside, where nothing is sent
    "notifications:secret": Door(WEBHOOK, POST=Way(OWNERS)),
    "notifications:delete": Door(WEBHOOK, POST=Way(OWNERS, 302)),
    "notifications:again": Door(WEBHOOK | {"delivery": "delivery"}, POST=Way(OWNERS, 302)),
    # ----- Dashboards -----
    "dashboard_link": Door(fixed={"token": "guessed"}, GET=Way(EVERYBODY, 404)),  # good ones: dashboards/test_links.py
    "dashboard_link_csv": Door(fixed={"token": "guessed", "tile": 1}, GET=Way(EVERYBODY, 404)),
    "dashboards:list": Door(GET=Way(), POST=Way(DASHBOARDS, 302, {"name": "Mine"})),
    "dashboards:show": Door(DASHBOARD, GET=Way()),
    "dashboards:wall": Door(DASHBOARD, GET=Way()),
    "dashboards:share": Door(DASHBOARD, GET=Way()),
    "dashboards:edit": Door(DASHBOARD, POST=Way(DASHBOARDS, 302, {"name": "Renamed"})),
    "dashboards:delete": Door(DASHBOARD, POST=Way(DASHBOARDS, 302)),
    "dashboards:make_link": Door(DASHBOARD, POST=Way(EDITORS, 200, {"name": "lab", "days": "30"})),
    "dashboards:revoke_link": Door(DASHBOARD | {"link": "link"}, POST=Way(EDITORS, 302)),
    "dashboards:add_tile": Door(
        DASHBOARD, fixed={"kind": "queue"}, GET=Way(DASHBOARDS), POST=Way(DASHBOARDS, 302, {"span": "day"})
    ),
    "dashboards:edit_tile": Door(TILE, GET=Way(DASHBOARDS), POST=Way(DASHBOARDS, 302, {"span": "day", "version": "1"})),
    "dashboards:place_tile": Door(TILE, POST=Way(DASHBOARDS, 302, {"go": "right"})),
    "dashboards:remove_tile": Door(TILE, POST=Way(DASHBOARDS, 302)),
    "dashboards:csv": Door(TILE, GET=Way()),
    # ----- Compute -----
    "compute:list": PAGE,
    "compute:delete_many": Door(POST=Way(COMPUTE, 302, lambda things: {"target": [things.cluster], "confirmed": "1"})),
    "compute:create": Door(GET=Way(MEMBERS, 302), POST=Way(COMPUTE, 302, _cluster)),
    "compute:quota": PAGE,
    "compute:quota_uses": Door(fixed={"family": "all", "priority": "Dedicated"}, GET=Way()),
    "compute:quota_nodes": Door(TARGET, GET=Way()),
    "compute:limit": Door(  # the whole studio's: compute/quotas/test_pages.py
        GET=Way(OWNERS), POST=Way(OWNERS, 302, {"of": "workspace", "cores": "30", "version": "1"})
    ),
    "compute:quota_people": PAGE,
    "compute:budget": Door(GET=Way(OWNERS), POST=Way(OWNERS, 302, {"of": "workspace", "usd": "100"})),
    "compute:export_limits": PAGE,
    "compute:import_limits": Door(
        GET=Way(),
        POST=Way(
            OWNERS,
            200,
            {"apply": "1", "text": "scope,who,family,priority,cores,guaranteed\nworkspace,,*,Dedicated,30,\n"},
        ),
    ),
    "compute:quota_requests": PAGE,
    "compute:ask_quota": Door(
        GET=Way(ASKERS), POST=Way(ASKERS, 302, {"cores": "50", "reason": "A sweep.", "size": "Standard_D2_v2"})
    ),
    "compute:quota_request": Door(
        {"pk": "quota_request"},
        GET=Way(MEMBERS, 404, others={"Owner": 200}),  # somebody else's
        POST=Way(MEMBERS, 404, {"action": "decline", "answer": "No."}, {"Owner": 302}),
    ),
    "compute:prices": Door(
        GET=Way(),
        POST=Way(
            OWNERS,
            302,
            {"vm_size": "Standard_D1", "priority": "Dedicated", "usd": "1", "region": "x", "as_of": "2026-01-01"},
        ),
    ),
    "compute:price_machine": Door(
        fixed={"name": settings.HOST_NAME}, POST=Way(OWNERS, 302, {"usd": "1", "unit": "core"})
    ),
    "compute:price_target": Door(ATTACHED, POST=Way(COMPUTE, 302, {"usd": "1"})),
    "compute:detail": Door(TARGET, GET=Way()),
    "compute:row": Door(TARGET, GET=Way()),
    "compute:scale": Door(
        TARGET, GET=Way(), POST=Way(COMPUTE, 302, {"min_nodes": 0, "max_nodes": 2, "idle_seconds": 60})
    ),
    "compute:identity": Door(TARGET, GET=Way(), POST=Way(COMPUTE, 302, {"identity": "system"})),
    "compute:delete": Door(TARGET, GET=Way(), POST=Way(COMPUTE, 302)),
    "compute:azure": Door(GET=Way(OWNERS), POST=Way(OWNERS, 302, {"way": "default", "subscription_id": UUID})),
    "compute:azure_test": Door(POST=Way(OWNERS)),
    "compute:attach": Door(fixed={"kind": "Tiny"}, GET=Way(), POST=Way(COMPUTE, 302, _machine)),
    "compute:connection": Door(ATTACHED, GET=Way(), POST=Way(COMPUTE, 302, _machine)),
    "compute:look_again": Door(ATTACHED, POST=Way(COMPUTE, 302)),
    "compute:accept_host_key": Door(ATTACHED, POST=Way(COMPUTE, 409, {"sha256": "guessed"})),
    "compute:detach": Door(ATTACHED, GET=Way(), POST=Way(COMPUTE, 302)),
    "compute:preempt": Door({"name": "cluster", "node_id": "node"}, POST=Way(COMPUTE, 302)),
    # ----- Runs -----
    "runs:submit": Door(GET=Way(), POST=Way(RUNNERS, 302, _submitted)),
    "runs:submit_check": PAGE,
    "runs:begin_upload": Door(POST=Way(RUNNERS, 200, _files)),
    "runs:upload": Door(  # somebody else's; one's own: tests/runs/test_uploads.py
        {"upload_id": "upload"}, GET=Way(RUNNERS, 404), PUT=Way(RUNNERS, 404)
    ),
    "runs:list": PAGE,
    "runs:archive_many": Door(POST=Way(RUNNERS, 302, lambda things: {"run": [things.ended_run]})),
    "runs:cancel_many": Door(POST=Way(RUNNERS, 302, lambda things: {"run": [things.run], "confirmed": "1"})),
    "runs:detail": Door(RUN, GET=Way()),
    "runs:header": Door(RUN, GET=Way()),
    "runs:row": Door(RUN, GET=Way()),
    "runs:cancel": Door(RUN, POST=Way(RUNNERS, 302)),
    "runs:resubmit": Door({"run_id": "ended_run"}, POST=Way(RUNNERS, 302)),
    "runs:edit": Door(RUN, GET=Way(MEMBERS, 302), POST=Way(RUNNERS, 302, {"description": "better"})),
    "runs:log": Door({"run_id": "run", "stream": "stream"}, GET=Way()),
    "runs:ask_log": Door({"run_id": "run", "stream": "stream"}, GET=Way(query="?line=1")),
    "runs:output": Door({"run_id": "run", "attempt": "attempt", "path": "output"}, GET=Way()),
    "runs:outputs_zip": Door(RUN, GET=Way()),
    "runs:snapshot_zip": Door(RUN, GET=Way()),
    "runs:snapshot_file": Door({"run_id": "run", "path": "snapshot_file"}, GET=Way()),
    "runs:usage": PAGE,  # everybody's: tests/runs/test_usage_page.py
    "runs:queue": PAGE,
    "runs:queue_move": Door(RUN, POST=Way(RUNNERS, 409, {"to": "up"})),  # it does not wait: tests/runs/test_queue.py
    "runs:queue_priority": Door(POST=Way(OWNERS, 302, lambda things: {"run": [things.run], "priority": "100"})),
    "runs:experiments": PAGE,
    "runs:experiment": Door({"name": "experiment"}, GET=Way()),
    "runs:edit_experiment": Door({"name": "experiment"}, POST=Way(RUNNERS, 302, {"description": "better"})),
    # ----- Accounts: the library's pages. Nobody signs up; what is sent is wrong on purpose -----
    "account_login": form(Way(EVERYBODY, 302, others=AT_THE_GATE), Way(EVERYBODY, 302, others=AT_THE_GATE)),
    "account_logout": Door(GET=Way(EVERYBODY, 200, others={"nobody": 302}), POST=Way(EVERYBODY, 302)),
    "account_inactive": Door(GET=Way(EVERYBODY)),
    "account_signup": form(Way(EVERYBODY, 302, others=AT_THE_GATE), Way(EVERYBODY, 302, others=AT_THE_GATE)),
    "account_reauthenticate": form(Way(SIGNED_IN), Way(SIGNED_IN)),
    "account_email": form(Way(SIGNED_IN), Way(SIGNED_IN, 302)),
    "account_email_verification_sent": Door(GET=Way(EVERYBODY)),
    "account_confirm_email": Door(fixed={"key": "guessed"}, GET=Way(EVERYBODY), POST=Way(EVERYBODY, 404)),
    "account_change_password": form(Way(SIGNED_IN), Way(SIGNED_IN)),
    "account_set_password": form(Way(SIGNED_IN, 302), Way(SIGNED_IN, 302)),
    "account_reset_password": form(Way(EVERYBODY), Way(EVERYBODY)),
    "account_reset_password_done": Door(GET=Way(EVERYBODY)),
    "account_reset_password_from_key": replace(
        form(Way(EVERYBODY), Way(EVERYBODY)), fixed={"uidb36": "1", "key": "guessed"}
    ),
    "account_reset_password_from_key_done": Door(GET=Way(EVERYBODY)),
    "account_confirm_login_code": form(Way(EVERYBODY, 302), Way(EVERYBODY, 302)),
    # ----- The second step: nobody here has one, and who changes one shows the password again -----
    "mfa_index": Door(GET=Way(SIGNED_IN, 302)),
    "mfa_owed": Door(GET=Way(SIGNED_IN, 302)),  # who owes a second step: test_second_step.py
    "mfa_authenticate": Door(GET=Way(EVERYBODY, 302), POST=Way(EVERYBODY, 302)),
    "mfa_reauthenticate": form(Way(SIGNED_IN, 302), Way(SIGNED_IN, 302)),
    "mfa_activate_totp": form(Way(SIGNED_IN, 302), Way(SIGNED_IN, 302)),
    "mfa_deactivate_totp": form(Way(SIGNED_IN, 404), Way(SIGNED_IN, 404)),
    "mfa_view_recovery_codes": Door(GET=Way(SIGNED_IN, 404)),
    "mfa_generate_recovery_codes": form(Way(SIGNED_IN, 302), Way(SIGNED_IN, 302)),
    "mfa_list_webauthn": Door(GET=Way(SIGNED_IN, 302)),
    "mfa_add_webauthn": form(Way(SIGNED_IN, 302), Way(SIGNED_IN, 302)),
    "mfa_login_webauthn": form(Way(EVERYBODY, 302), Way(EVERYBODY, 302)),
    "mfa_reauthenticate_webauthn": form(Way(SIGNED_IN, 302), Way(SIGNED_IN, 302)),
    "mfa_edit_webauthn": replace(form(Way(SIGNED_IN, 302), Way(SIGNED_IN, 302)), fixed={"pk": 1}),
    "mfa_remove_webauthn": Door(fixed={"pk": 1}, GET=Way(SIGNED_IN, 302), POST=Way(SIGNED_IN, 302)),
    # ----- Providers: what a known one answers: test_sign_in.py -----
    "openid_connect_login": Door(fixed={"provider_id": "nowhere"}, POST=Way(EVERYBODY, 404)),
    "openid_connect_callback": Door(fixed={"provider_id": "nowhere"}, GET=Way(EVERYBODY, 404)),
    "link_sign_in": Door(fixed={"provider_id": "nowhere"}, POST=Way(SIGNED_IN, 302)),
    "unlink_sign_in": Door(fixed={"pk": 1}, POST=Way(SIGNED_IN, 302)),
    "sign_in_providers": Door(GET=Way(ADMINISTRATOR), POST=Way(ADMINISTRATOR, 302, {"passwords": "on"})),
    "add_sign_in_provider": Door(GET=Way(ADMINISTRATOR), POST=Way(ADMINISTRATOR, 302, PROVIDER)),
    "sign_in_provider": Door(fixed={"slug": "contoso"}, GET=Way(ADMINISTRATOR), POST=Way(ADMINISTRATOR, 302, PROVIDER)),
    "remove_sign_in_provider": Door(fixed={"slug": "contoso"}, POST=Way(ADMINISTRATOR, 302)),
    "sign_in_groups": Door(
        fixed={"slug": "contoso"},
        POST=Way(ADMINISTRATOR, 302, lambda things: {"group": "a", "workspace": things.space.pk, "role": "Reader"}),
    ),
    "test_sign_in_provider": Door(fixed={"slug": "contoso"}, POST=Way(ADMINISTRATOR)),
}

# ---------- The table of sockets: who may, and a query ----------
SOCKETS: dict[str, tuple[frozenset[str], dict[str, str], str]] = {
    "ws/w/<str:workspace>/live/": (MEMBERS, {}, ""),
    "ws/w/<str:workspace>/dashboards/<str:pk>/": (MEMBERS, {"pk": "dashboard"}, ""),
    "ws/w/<str:workspace>/compute/<str:name>/nodes/": (MEMBERS, {"name": "cluster"}, ""),
    "ws/w/<str:workspace>/runs/<str:run_id>/log/": (MEMBERS, {"run_id": "run"}, "?stream=1/std_log.txt"),
}


BY_LINK = {"ws/d/<str:token>/"}  # asks nobody who they are: tests/studio/dashboards/test_links.py


# ---------- The walk ----------
def urls(patterns: list[Any] | None = None, namespace: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Yield each URL of the studio by its name; one without a name by its pattern, which no table holds."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        if isinstance(pattern, URLResolver):
            yield from urls(pattern.url_patterns, namespace + (f"{pattern.namespace}:" if pattern.namespace else ""))
        else:
            yield namespace + (pattern.name or f"without a name: {pattern.pattern}"), pattern


def _with_workspace(patterns: list[Any], namespace: str = "", above: bool = False) -> Iterator[str]:
    for pattern in patterns:
        here = above or "workspace" in pattern.pattern.converters
        if isinstance(pattern, URLResolver):
            inner = namespace + (f"{pattern.namespace}:" if pattern.namespace else "")
            yield from _with_workspace(pattern.url_patterns, inner, here)
        elif here:
            yield namespace + str(pattern.name)


WITH_WORKSPACE = frozenset(_with_workspace(get_resolver().url_patterns))
PASSING = re.compile(r"\b[A-Za-z0-9]{64}\b|\d{4}-\d\d-\d\dT[\d:.+]+")  # tokens of forms, times


def address(name: str, things: Things, *, of: Things | None = None) -> str:
    """Return a URL in the workspace of `things`; its other arguments are those of `of`."""
    door = DOORS[name]
    kwargs = dict(door.fixed) | {key: getattr(of or things, word) for key, word in door.takes.items()}
    if name in WITH_WORKSPACE:
        kwargs["workspace"] = things.workspace
    return reverse(name, kwargs=kwargs)


def fingerprint() -> str:
    """Return a digest of every row and every stored file; where and when somebody was seen is left out."""
    seen = {"last_login", "seen_at"}
    digest = hashlib.sha256()
    for model in apps.get_models():
        if model._meta.label in {"sessions.Session", "people.BrowserSession", "account.EmailAddress"}:
            continue  # written where somebody looks at their own
        columns = [f.attname for f in model._meta.concrete_fields if f.name not in seen]
        digest.update(
            repr((model._meta.label, list(model._base_manager.order_by("pk").values_list(*columns)))).encode()
        )
    for folder in (settings.LOG_DIR, settings.SNAPSHOT_DIR, settings.JOB_DIR, settings.ENVIRONMENT_DIR):
        digest.update(repr(sorted((str(f), f.lstat().st_size) for f in Path(folder).rglob("*"))).encode())
    return digest.hexdigest()


@pytest.fixture
def world(db: None, with_tiny: None) -> World:
    return World()


def test_every_url_stands_in_the_table_and_every_entry_has_a_url() -> None:
    found = [name for name, _pattern in urls()]
    assert sorted(found) == sorted(set(found)), "two URLs of one name"
    assert set(found) - set(DOORS) == set(), "these URLs say nowhere who may: add them to DOORS"
    assert set(DOORS) - set(found) == set(), "these are gone"


def test_every_socket_stands_in_the_table_and_every_entry_has_a_socket() -> None:
    found = [str(route.pattern) for route in sockets]
    assert set(found) == set(SOCKETS) | BY_LINK
    assert all("<str:workspace>" in route for route in SOCKETS)


@pytest.mark.parametrize("name", DOORS)
def test_a_door_opens_for_who_may_and_for_nobody_else(world: World, queued: list[Any], name: str) -> None:
    door = DOORS[name]
    before = fingerprint()
    refuse_those_who_may_not(world, name)
    refuse_other_methods(world, name)
    refuse_foreign_pages(world, name)
    if name in WITH_WORKSPACE:
        hide_other_workspaces(world, name)
        hide_whether_a_workspace_exists(world, name)
    assert fingerprint() == before, "somebody who may not changed something"
    assert not queued
    for method, way in door.ways():
        for who in sorted(way.who):
            with transaction.atomic():
                point = transaction.savepoint()
                status, said = knock(world.client(who), method, address(name, world.here), way, world.here)
                transaction.savepoint_rollback(point)
            assert status == way.answer_for(who), f"{method} {name} as {who}: {status} {said[:2000]}"


def knock(client: Client, method: str, url: str, way: Way, things: Things) -> tuple[int, str]:
    """Send what the table says; return status and text."""
    query = way.query if method == "GET" else ""
    body, kind = (b"", "") if method == "GET" else way.body(things)
    answer: Any = client.generic(method, url + query, body, kind, headers=way.headers)
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return answer.status_code, answer.get("Location", "") + content.decode("utf-8", "replace")


def refuse_those_who_may_not(world: World, name: str) -> None:
    before = fingerprint()
    for method, way in DOORS[name].ways():
        for who in world.people.keys() - way.who:
            told = f"{method} {name} as {who}"
            status, said = knock(world.client(who), method, address(name, world.here), way, world.here)
            assert fingerprint() == before, told
            if who == "nobody":
                assert status == 302, told
                assert said.startswith("/accounts/login/?next="), told
            elif who in OUTSIDE and name in WITH_WORKSPACE:
                assert status == 404, told
            else:
                assert status == 403, told
                assert "This needs the role" in said or "Only an administrator" in said, told


def refuse_other_methods(world: World, name: str) -> None:
    for method in METHODS:
        if getattr(DOORS[name], method) is None:
            status, _said = knock(world.client("Owner"), method, address(name, world.here), Way(), world.here)
            library = name.startswith(("account_", "mfa_")) and status in {200, 302, 404}  # it asks who before how
            assert status == 405 or library, f"{method} {name}"


def refuse_foreign_pages(world: World, name: str) -> None:
    """A form of a foreign page brings its reader's cookies, and not the token of our own forms."""
    for method, way in DOORS[name].ways():
        for who in ("Owner", "nobody") if method != "GET" else ():
            client = world.client(who, enforce_csrf_checks=True)
            for headers in ({}, {"Origin": "https://evil.example"}):
                sent = replace(way, headers=way.headers | headers)
                status, _said = knock(client, method, address(name, world.here), sent, world.here)
                signed = name == "unsubscribe"  # by its link alone: RFC 8058
                assert status == (410 if signed else 403), f"{method} {name} as {who} from a foreign page"


def hide_other_workspaces(world: World, name: str) -> None:
    """What belongs to one workspace is not found in another, even by who owns both."""
    if not DOORS[name].takes:
        return
    for method, way in DOORS[name].ways():
        for who in ("Owner", "owner of both"):
            url = address(name, world.here, of=world.there)
            status, _said = knock(world.client(who), method, url, way, world.there)
            assert status == 404, f"{method} {name} with the other workspace's ids as {who}"


def hide_whether_a_workspace_exists(world: World, name: str) -> None:
    client = world.client("stranger")
    for method, way in DOORS[name].ways():
        theirs = address(name, world.here)
        nowhere = theirs.replace("/w/here/", "/w/nowhere/")
        answers = [knock(client, method, url, way, world.here) for url in (theirs, nowhere)]
        (status, said), other = [(status, PASSING.sub("", text)) for status, text in answers]
        assert (status, said.replace("/w/here/", "/w/nowhere/")) == other, f"{method} {name}"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("route", SOCKETS)
async def test_who_gets_a_socket(route: str, caplog: pytest.LogCaptureFixture) -> None:
    world = await sync_to_async(World)()
    may, takes, query = SOCKETS[route]

    def path(things: Any, of: Any = None) -> str:
        address = "/" + route.replace("<str:workspace>", things.workspace)
        for name, word in takes.items():
            address = address.replace(f"<str:{name}>", str(getattr(of or things, word)))
        return address + query

    keys = {who: await sync_to_async(_key)(world, who) for who in world.people}
    for who, key in keys.items():
        socket = Socket(path(world.here), key)
        caplog.clear()
        assert await socket.opens() == (who in may), f"{path(world.here)} as {who}"
        assert ("Denied" in caplog.text) == (who not in may)
        if who in may:
            await socket.leaves()
    for origin in ("https://evil.example", "http://localhost:1", "null", "", "http://[", "//localhost"):
        caplog.clear()
        assert not await Socket(path(world.here), keys["Owner"], origin=origin).opens(), origin
        assert "Denied" in caplog.text
    for nowhere in [path(world.there), *([path(world.here, world.there)] if takes else [])]:
        assert not await Socket(nowhere, keys["Owner"]).opens(), nowhere


def _key(world: World, who: str) -> str:
    client = world.client(who)
    return str(client.session.session_key or "") if world.people[who] else ""
