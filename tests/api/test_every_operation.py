"""Every operation of the API, walked as every role, with tokens of every size, as a stranger and as nobody.

OPERATIONS is the table of who may do what. An operation that is not in it fails, and so does an entry whose operation
is gone: whoever adds an operation adds its line here.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.utils import timezone

from studio.api.urls import document
from studio.people.actions import issue_token
from studio.people.models import ApiToken
from studio.people.permissions import GRANTABLE, TABLE, Right, Role, may
from tests.studio.test_every_door import fingerprint
from tests.studio.world import Things, World

Body = tuple[bytes, str]


def as_json(said: Any) -> Body:
    return json.dumps(said).encode(), "application/json"


def _zip(things: Things) -> Body:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("train.py", "print(2)\n")
    held.seek(0)
    held.name = "files.zip"
    return encode_multipart(BOUNDARY, {"archive": held}), MULTIPART_CONTENT


def _files(things: Things) -> Body:
    return as_json({"files": [{"path": "train.py", "size": 9, "sha256": "0" * 64}]})


@dataclass(frozen=True)
class Op:
    """One operation: the right it needs, what it answers, what it is about, and what is sent."""

    right: Right = Right.VIEW
    answer: int = 200
    takes: dict[str, str] = field(default_factory=dict)  # the path's names, as attributes of Things
    sends: Callable[[Things], Body] = lambda things: (b"", "application/json")
    query: str = ""
    signed_in_owner: int = 0  # what an Owner is answered without a token, where that is something else

    @property
    def roles(self) -> set[Role]:
        return {role for role in Role if self.right in TABLE[role]}


def sends(said: Any) -> Callable[[Things], Body]:
    return lambda things: as_json(said)


RUN, TARGET, EXPERIMENT = {"run_id": "run"}, {"name": "cluster"}, {"name": "experiment"}
BOARD, TILE = {"dashboard_id": "dashboard"}, {"dashboard_id": "dashboard", "tile_id": "tile"}
WEBHOOK, REQUEST = {"webhook_id": "webhook"}, {"request_id": "quota_request"}
SUBMITS, DASHBOARDS = Right.SUBMIT_RUN, Right.EDIT_DASHBOARDS
OPERATIONS: dict[str, Op] = {
    # ----- The workspace -----
    "get_workspace": Op(),
    "list_members": Op(),
    "list_teams": Op(),
    "list_roles": Op(),
    "list_invitations": Op(),
    "list_sizes": Op(),
    "search": Op(query="?q=lemur"),
    "list_activity": Op(Right.VIEW_ACTIVITY),
    "activity_chain": Op(Right.VIEW_ACTIVITY),
    # ----- Targets -----
    "list_targets": Op(),
    "create_cluster": Op(Right.CREATE_COMPUTE, 201, sends=sends({"name": "new-one", "vm_size": "Standard_D1_v2"})),
    "get_target": Op(takes=TARGET),
    "delete_target": Op(Right.DELETE_COMPUTE, 202, TARGET),
    "get_scale": Op(takes=TARGET),
    "set_scale": Op(Right.RESIZE_COMPUTE, 200, TARGET, sends({"min_nodes": 0, "max_nodes": 2, "idle_seconds": 60})),
    "list_nodes": Op(takes=TARGET),
    "preempt_node": Op(Right.RESIZE_COMPUTE, 204, {"name": "cluster", "node_id": "node"}),
    "target_history": Op(takes=TARGET),
    "get_connection": Op(takes={"name": "attached"}),
    "list_looks": Op(takes={"name": "attached"}),
    "look_again": Op(Right.ATTACH_COMPUTE, 202, {"name": "attached"}),
    "get_identity": Op(takes=TARGET),
    "set_identity": Op(Right.RESIZE_COMPUTE, 200, TARGET, sends({"type": "SystemAssigned"})),
    # ----- Runs -----
    "list_runs": Op(),
    "submit_run": Op(SUBMITS, 201, sends=sends({"target": "local", "experiment": "digits", "code": "print(1)\n"})),
    "get_run": Op(takes=RUN),
    "change_run": Op(SUBMITS, 200, RUN, sends({"description": "better"})),
    "cancel_run": Op(Right.CANCEL_RUN, 202, RUN),
    "resubmit_run": Op(SUBMITS, 201, {"run_id": "ended_run"}),
    "run_events": Op(takes=RUN),
    "list_attempts": Op(takes=RUN),
    "run_usage": Op(takes=RUN),
    "run_metrics": Op(takes=RUN),
    "list_logs": Op(takes=RUN),
    "read_log": Op(takes={"run_id": "run", "stream": "stream"}),
    "list_outputs": Op(takes=RUN),
    "read_output": Op(takes={"run_id": "run", "attempt": "attempt", "path": "output"}),
    "zip_outputs": Op(takes=RUN),
    "list_snapshot": Op(takes=RUN),
    "zip_snapshot": Op(takes=RUN),
    "take_zip": Op(SUBMITS, 201, sends=_zip),
    "begin_upload": Op(SUBMITS, 201, sends=_files),
    "get_upload": Op(SUBMITS, 404, {"upload_id": "upload"}),  # somebody else's; one's own: test_operations.py
    "send_piece": Op(SUBMITS, 404, {"upload_id": "upload"}),
    # ----- The queue and usage -----
    "list_queue": Op(),
    "move_in_queue": Op(SUBMITS, 409, RUN, sends({"to": "up"})),  # it does not wait
    "set_priorities": Op(Right.ORDER_QUEUE, 200, sends=sends({"runs": ["nothing"], "priority": 5})),
    "get_usage": Op(),
    # ----- Quotas -----
    "list_limits": Op(),
    "change_limits": Op(Right.EDIT_QUOTA, 200, sends=sends({"limits": [{"family": "*", "cores": 24}]})),
    "get_verdict": Op(query="?vm_size=Standard_D1_v2&max_nodes=2"),
    "list_quota": Op(),
    "list_shares": Op(),
    "list_quota_requests": Op(),
    "ask_quota": Op(Right.ASK_QUOTA, 201, sends=sends({"cores": 50, "reason": "A sweep."})),
    # Somebody else's: who may answer them sees them, and no token may. One's own: test_requests.py.
    "get_quota_request": Op(Right.VIEW, 404, REQUEST, signed_in_owner=200),
    "withdraw_quota_request": Op(Right.ASK_QUOTA, 404, REQUEST),
    "approve_quota_request": Op(Right.EDIT_QUOTA, 200, REQUEST, sends({"cores": 40})),
    "decline_quota_request": Op(Right.EDIT_QUOTA, 200, REQUEST, sends({"answer": "Not this month."})),
    "list_prices": Op(),
    "list_holders": Op(),
    "list_held": Op(takes=TARGET),
    # ----- Dashboards -----
    "list_dashboards": Op(),
    "create_dashboard": Op(DASHBOARDS, 201, sends=sends({"name": "Lab", "overview": True})),
    "get_dashboard": Op(takes=BOARD),
    "change_dashboard": Op(DASHBOARDS, 200, BOARD, sends({"name": "Lab"})),
    "delete_dashboard": Op(DASHBOARDS, 204, BOARD),
    "add_tile": Op(DASHBOARDS, 201, BOARD, sends({"kind": "queue", "options": {"span": "week"}})),
    "get_tile": Op(takes=TILE),
    "get_tile_csv": Op(takes=TILE),
    "change_tile": Op(DASHBOARDS, 200, TILE, sends({"version": 1, "title": "Queue"})),
    "place_tile": Op(DASHBOARDS, 200, TILE, sends({"position": 0, "width": 4})),
    "remove_tile": Op(DASHBOARDS, 204, TILE),
    "list_links": Op(Right.SHARE_DASHBOARDS, 200, BOARD),
    "revoke_link": Op(Right.SHARE_DASHBOARDS, 204, BOARD | {"link_id": "link"}),
    # ----- Notifications -----
    "list_webhooks": Op(),
    "get_webhook": Op(Right.EDIT_NOTIFICATIONS, 200, WEBHOOK),
    "list_deliveries": Op(Right.EDIT_NOTIFICATIONS, 200, WEBHOOK),
    "test_webhook": Op(Right.EDIT_NOTIFICATIONS, 200, WEBHOOK),
    "deliver_again": Op(Right.EDIT_NOTIFICATIONS, 202, WEBHOOK | {"delivery_id": "delivery"}),
    # ----- Tokens, and the studio itself -----
    "list_tokens": Op(),
    "revoke_token": Op(Right.VIEW, 404, {"token_id": "api_token"}),  # somebody else's; one's own: test_studio.py
    "get_studio": Op(),
    # ----- Experiments -----
    "list_experiments": Op(),
    "get_experiment": Op(takes=EXPERIMENT),
    "experiment_metrics": Op(takes=EXPERIMENT),
    "experiment_usage": Op(takes=EXPERIMENT),
    "change_experiment": Op(SUBMITS, 200, EXPERIMENT, sends({"description": "better"})),
}
OF_NO_WORKSPACE = {"me", "openapi", "get_mail", "set_mail"}


def operations() -> Iterator[tuple[str, str, str]]:
    """Yield the id, the method and the path of every operation."""
    for path, methods in document()["paths"].items():
        for method, said in methods.items():
            yield said["operationId"], method.upper(), path


PLACES = {name: (method, path) for name, method, path in operations()}


def test_every_operation_stands_in_the_table_and_every_entry_has_one() -> None:
    found = [name for name, _method, _path in operations()]
    assert sorted(found) == sorted(set(found)), "two operations of one id"
    assert set(found) - set(OPERATIONS) - OF_NO_WORKSPACE == set(), "these say nowhere who may: add them to OPERATIONS"
    assert set(OPERATIONS) - set(found) == set(), "these are gone"
    assert all("{workspace}" in PLACES[name][1] for name in OPERATIONS)


def address(name: str, things: Things, of: Things | None = None) -> str:
    path = PLACES[name][1].replace("{workspace}", things.workspace)
    for key, word in OPERATIONS[name].takes.items():
        path = path.replace(f"{{{key}}}", str(getattr(of or things, word)))
    return path + OPERATIONS[name].query


def knock(client: Client, name: str, url: str, things: Things, word: str = "") -> Any:
    body, kind = OPERATIONS[name].sends(things)
    headers = {"Authorization": f"Bearer {word}"} if word else {}
    answer: Any = client.generic(PLACES[name][0], url, body, kind, headers=headers)
    if answer.streaming:
        b"".join(answer.streaming_content)
    return answer


@pytest.fixture
def world(db: None, with_tiny: None) -> World:
    return World()


def token(world: World, who: Any, rights: set[Right] | None = None, things: Things | None = None) -> str:
    """Return a token of somebody: with all they may hand out, or with `rights`, however small that is."""
    space = (things or world.here).space
    grantable = {right for right in GRANTABLE if may(who, right, space)}
    made, word = issue_token(space, who, "walk", grantable, days=1)
    changes: dict[str, Any] = {"used_at": timezone.now()}
    if rights is not None:
        changes["rights"] = sorted(rights)
    ApiToken.objects.filter(pk=made.pk).update(**changes)
    return word


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_for_who_may_and_for_nobody_else(world: World, queued: list[Any], name: str) -> None:
    op, url, here = OPERATIONS[name], address(name, world.here), world.here
    owner = world.people[Role.OWNER]
    words = {role: token(world, world.people[role]) for role in Role}
    elsewhere, too_small = token(world, world.stranger, things=world.there), token(world, owner, {Right.VIEW})
    nothing, lacking = token(world, owner, set()), token(world, owner, set(GRANTABLE) - {op.right})
    of_ana = token(world, world.ana)
    before = fingerprint()

    def refused(answer: Any, status: int, told: str) -> Any:
        assert answer.status_code == status, f"{told}: {answer.status_code}"
        assert answer["Content-Type"] == "application/problem+json", told
        return answer.json()

    refused(knock(Client(), name, url, here), 401, "nobody")
    refused(knock(Client(), name, url, here, "studio_guessed"), 401, "a guess")
    stranger = refused(knock(world.client("stranger"), name, url, here), 404, "a stranger")
    nowhere = url.replace("/w/here", "/w/nowhere")
    assert stranger["detail"] == refused(knock(world.client("stranger"), name, nowhere, here), 404, "nowhere")["detail"]
    refused(knock(Client(), name, url, here, elsewhere), 404, "a token of another workspace")
    refused(knock(Client(), name, url, here, nothing), 404, "a token that does not even let see")
    if op.right != Right.VIEW:
        refused(knock(Client(), name, url, here, too_small), 403, "a token that lets see")
        said = refused(knock(Client(), name, url, here, lacking), 403, "a token that lacks the right")
        assert op.right in said["detail"]
    else:
        refused(knock(Client(), name, url, here, lacking), 404, "a token that does not let see")
    for role in set(Role) - op.roles:
        said = refused(knock(world.client(role), name, url, here), 403, role)
        assert "This needs the role" in said["hint"]
        refused(knock(Client(), name, url, here, words[role]), 403, f"a token of {role}")
    if PLACES[name][0] != "GET":
        foreign = world.client(Role.OWNER, enforce_csrf_checks=True)
        refused(knock(foreign, name, url, here), 403, "a foreign page")
    if op.takes:
        theirs = address(name, world.here, of=world.there)
        refused(knock(world.client("owner of both"), name, theirs, world.there), 404, "ids of another workspace")
        refused(knock(Client(), name, theirs, world.there, of_ana), 404, "the same with a token")
    if op.right not in GRANTABLE:
        refused(knock(Client(), name, url, here, words[Role.OWNER]), 403, "a right that no token carries")
    assert fingerprint() == before, "somebody who may not changed something"
    assert not queued
    for role in sorted(op.roles):
        ways = [(world.client(role), "")] + ([(Client(), words[role])] if op.right in GRANTABLE else [])
        for client, word in ways:
            with transaction.atomic():
                point = transaction.savepoint()
                answer = knock(client, name, url, here, word)
                transaction.savepoint_rollback(point)
            wanted = op.signed_in_owner if op.signed_in_owner and role == Role.OWNER and not word else op.answer
            assert answer.status_code == wanted, f"{name} as {role}: {answer.content[:2000]}"
            assert not (word and answer.cookies)


def test_the_document_and_who_one_is_are_for_who_is_signed_in(world: World) -> None:
    for name in OF_NO_WORKSPACE:
        path = PLACES[name][1]
        assert Client().get(path).status_code == 401
        assert world.client("stranger").get(path).status_code == 200
        word = token(world, world.people[Role.READER])
        assert Client().get(path, headers={"Authorization": f"Bearer {word}"}).status_code == 200
