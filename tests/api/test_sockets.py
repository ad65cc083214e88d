"""Sockets with tokens: the log is for programs, too; whatever a token does not allow stays closed, or is closed."""

from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from runs import consumers
from studio.people.actions import issue_token, revoke_token
from studio.people.models import ApiToken
from studio.people.permissions import Right, Role
from tests.sockets import Socket
from tests.studio.test_every_door import SOCKETS
from tests.studio.world import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("with_tiny")]
LOG = "ws/w/<str:workspace>/runs/<str:run_id>/log/"


def path(route, things):
    address, (_who, takes, query) = "/" + route.replace("<str:workspace>", things.workspace), SOCKETS[route]
    for name, word in takes.items():
        address = address.replace(f"<str:{name}>", str(getattr(things, word)))
    return address + query


@sync_to_async
def issued(world, things, who, rights=None):
    token, word = issue_token(things.space, who, "socket", set(), days=1)
    if rights is not None:
        ApiToken.objects.filter(pk=token.pk).update(rights=rights)
    return token, word


@pytest.mark.parametrize("route", SOCKETS)
async def test_a_token_opens_the_log_of_its_workspace_and_no_other_socket(route):
    world = await sync_to_async(World)()
    reader = world.people[Role.READER]
    for who, things, rights, opens in (
        (reader, world.here, None, route == LOG),
        (world.ana, world.there, None, False),  # of another workspace
        (reader, world.here, [], False),
        (reader, world.here, [Right.SUBMIT_RUN], False),  # it does not let see
    ):
        _token, word = await issued(world, things, who, rights)
        socket = Socket(path(route, world.here), token=word)
        assert await socket.opens() is opens
        if opens:
            await socket.leaves()
    assert not await Socket(path(route, world.here), token="studio_guessed").opens()


@pytest.mark.parametrize("end", ["revoked", "expired"])
async def test_the_socket_closes_with_its_token(end, monkeypatch):
    monkeypatch.setattr(consumers, "CHECK_SECONDS", 0.05)
    world = await sync_to_async(World)()
    owner = world.people[Role.OWNER]
    assert owner is not None
    token, word = await issued(world, world.here, owner)
    socket = Socket(path(LOG, world.here), token=word)
    assert await socket.opens()
    if end == "revoked":
        await sync_to_async(revoke_token)(token, by=owner)
    else:
        await ApiToken.objects.filter(pk=token.pk).aupdate(expires_at=timezone.now() - timedelta(seconds=1))
    assert await socket.closes() in {4401, 4403}
    assert not await Socket(path(LOG, world.here), token=word).opens()
