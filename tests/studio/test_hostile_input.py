"""Forged forms and hostile text: refused with a reason, or kept and shown as what it is."""

import re
from html import escape
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.urls import reverse

from compute.models import ComputeTarget, Examination
from runs.models import Experiment, Run
from studio.people.models import Invitation, User
from studio.people.permissions import Role
from tests.studio.world import World

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "attribute": "\"'><img src=x onerror=alert(1)>",
    "template": "{{ request.user }}{% debug %}%(name)s%s{0} javascript:alert(1) =cmd|' /C calc'!A0",
    "long": "x" * 5000,
    "nul": "a\0b",
    "rtl": "\u202egnp.exe\u2066",
    "lone surrogate": "\ud800",
}
ACTIVE = re.compile(r"<script>alert|<img src=x|onerror=alert\(1\)>|href=[\"']?javascript:", re.IGNORECASE)


@pytest.fixture
def world(db, with_tiny):
    return World()


@pytest.fixture
def owner(world):
    return world.client(Role.OWNER)


def typed(**changes):
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
    } | changes


def cluster(**changes):
    answers = {"name": "new-one", "token": str(uuid4()), "vm_size": "Standard_D1_v2", "priority": "Dedicated"}
    return answers | {"type": "CPU", "min_nodes": "0", "max_nodes": "1", "idle_seconds": "120"} | changes


# field → the URL it is sent to, what is sent with it, and the pages that show what was kept
def machine(**changes):
    answers = {"token": str(uuid4()), "name": "new-lab", "address": "new.example", "authentication": "key"}
    return answers | {"private_key": "a key", "action": "check"} | changes


FIELDS = {
    "submit experiment": ("runs:submit", {}, lambda text: typed(experiment=text)),
    "submit description": ("runs:submit", {}, lambda text: typed(description=text)),
    "submit tag": ("runs:submit", {}, lambda text: typed(tag_key=[text, "k"], tag_value=["v", text])),
    "submit variable": ("runs:submit", {}, lambda text: typed(variable_key=["K"], variable_value=[text])),
    "submit variable name": ("runs:submit", {}, lambda text: typed(variable_key=[text], variable_value=["v"])),
    "submit arguments": ("runs:submit", {}, lambda text: typed(arguments=text)),
    "submit code": ("runs:submit", {}, lambda text: typed(code=text)),
    "submit file name": ("runs:submit", {}, lambda text: typed(code_name=text)),
    "submit interpreter": ("runs:submit", {}, lambda text: typed(interpreter=text)),
    "submit target": ("runs:submit", {}, lambda text: typed(target=text)),
    "run description": ("runs:edit", {"run_id": "run"}, lambda text: {"description": text}),
    "run tag": ("runs:edit", {"run_id": "run"}, lambda text: {"tag_key": [text, "k"], "tag_value": ["v", text]}),
    "experiment description": ("runs:edit_experiment", {"name": "experiment"}, lambda text: {"description": text}),
    "experiment tag": (
        "runs:edit_experiment",
        {"name": "experiment"},
        lambda text: {"tag_key": [text, "k"], "tag_value": ["v", text]},
    ),
    "cluster name": ("compute:create", {}, lambda text: cluster(name=text)),
    "cluster description": ("compute:create", {}, lambda text: cluster(description=text)),
    "cluster tags": ("compute:create", {}, lambda text: cluster(tags=f"{text}={text}\nk={text}")),
    "cluster size": ("compute:create", {}, lambda text: cluster(vm_size=text)),
    "cluster user": ("compute:create", {}, lambda text: cluster(ssh="on", admin_user=text, public_key=text)),
    "cluster network": ("compute:create", {}, lambda text: cluster(vnet_group=text, vnet=text, subnet=text)),
    "cluster identity": (
        "compute:identity",
        {"name": "cluster"},
        lambda text: {"identity": "user", "identity_id": text},
    ),
    "attach name": ("compute:attach", {"kind": "kind"}, lambda text: machine(name=text)),
    "attach address": ("compute:attach", {"kind": "kind"}, lambda text: machine(address=text)),
    "attach key": ("compute:attach", {"kind": "kind"}, lambda text: machine(private_key=text)),
    "attach draft": ("compute:attach", {"kind": "kind"}, lambda text: machine(token=text, draft=text, action=text)),
    "attach trust": ("compute:attach", {"kind": "kind"}, lambda text: machine(action="trust", sha256=text)),
    "connection description": (
        "compute:connection",
        {"name": "attached"},
        lambda text: machine(address="lab.example", private_key="", description=text, tags=f"{text}={text}"),
    ),
    "host key": ("compute:accept_host_key", {"name": "attached"}, lambda text: {"sha256": text}),
    "allowance": ("set_allowances", {}, lambda text: {"allow": [text]}),
    "invited": ("add_member", {}, lambda text: {"who": text, "role": "Reader", "invite": "on"}),
    "role": ("add_member", {}, lambda text: {"who": "dora", "role": text, "invite": "on"}),
    "member role": ("edit_member", {"pk": "member"}, lambda text: {"role": text, "action": text}),
    "profile": ("profile", None, lambda text: {"first_name": text, "last_name": text, "email": text, "theme": "dark"}),
    "name of a person": ("profile", None, lambda text: {"first_name": text[:150], "theme": "dark"}),
}


def pages_that_show(things):
    """Yield every page on which something that people typed may stand."""
    space = {"workspace": things.workspace}
    for name in ("home", "members", "compute:list", "runs:list", "runs:experiments", "runs:submit", "compute:create"):
        yield reverse(name, kwargs=space)
    yield "/profile/"
    for run in Run.objects.filter(workspace=things.space).select_related("experiment"):
        page = reverse("runs:detail", kwargs=space | {"run_id": run.run_id})
        yield from (f"{page}?tab={tab}" for tab in ("details", "snapshot", "raw"))
        yield reverse("runs:submit", kwargs=space) + f"?like={run.run_id}"
    for experiment in Experiment.objects.filter(workspace=things.space):
        yield reverse("runs:experiment", kwargs=space | {"name": experiment.name})
    for target in ComputeTarget.objects.filter(workspace=things.space):
        page = reverse("compute:detail", kwargs=space | {"name": target.name})
        yield from (f"{page}?tab={tab}" for tab in ("overview", "connection", "activity"))
    yield reverse("compute:connection", kwargs=space | {"name": things.attached})
    for draft in Examination.objects.filter(workspace=things.space, is_draft=True, target=None):
        yield reverse("compute:attach", kwargs=space | {"kind": draft.kind}) + f"?draft={draft.pk}"


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_is_refused_or_shown_as_text(world, owner, kind):
    """Every field takes it one after the other; then every page is looked at, with what was kept."""
    text, here, kept = HOSTILE[kind], world.here, []
    for field, (name, takes, sends) in FIELDS.items():
        kwargs = {} if takes is None else {key: getattr(here, word) for key, word in takes.items()}
        url = reverse(name, kwargs=kwargs if takes is None else kwargs | {"workspace": here.workspace})
        body = sends(text)
        answer = owner.post(url, body if kind != "lone surrogate" else escaped_surrogates(body))
        assert answer.status_code in {200, 302, 400, 404, 409, 422}, f"{field}: {answer.status_code}"
        assert not ACTIVE.search(answer.text), field
        kept += [field] if answer.status_code == 302 else []
    shown = ""
    for page in pages_that_show(here):
        answer = owner.get(page)
        assert answer.status_code in {200, 302}, page
        assert not ACTIVE.search(answer.text), page
        shown += answer.text
    if kind in {"script", "attribute"}:
        assert "run description" in kept
        assert escape(text) in shown  # as it was typed
    for name in ["search", "runs:list", "runs:experiments", "compute:list", "runs:submit", "compute:create"]:
        words = ("q", "target", "experiment", "name", "sort", "page", "status", "tab", "tag", "family", "description")
        query = {word: text.encode("utf-8", "surrogatepass") for word in words}
        answer = owner.get(reverse(name, kwargs={"workspace": here.workspace}), query, follow=True)
        assert answer.status_code in {200, 400, 422}, name  # 400: an address beyond all measure
        assert not ACTIVE.search(answer.text), name


def escaped_surrogates(body):
    """Return a form with half a character in it as bytes, as a hostile client would send it."""

    def sent(value):
        return [sent(v) for v in value] if isinstance(value, list) else value.encode("utf-8", "surrogatepass")

    return {key: sent(value) for key, value in body.items()}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_address_is_not_found(world, owner, kind):
    word = quote(HOSTILE[kind].encode("utf-8", "surrogatepass"), safe="")
    for path in (
        f"/w/{word}/",
        f"/w/here/runs/{word}/",
        f"/w/here/runs/{word}/row/",
        f"/w/here/experiments/{word}/",
        f"/w/here/compute/targets/{word}/",
        f"/w/here/runs/{world.here.run}/logs/{word}",
        f"/w/here/runs/{world.here.run}/snapshot/{word}",
        f"/w/here/runs/{world.here.run}/outputs/1/{word}",
        f"/join/{word}/",
        f"/sign-in/{word}/",
    ):
        answer = owner.get(path)
        assert answer.status_code in {404, 410}, path
        assert not ACTIVE.search(answer.text), path


def test_a_name_that_signed_up_by_an_invitation_stays_text(world, owner):
    """What the form refuses, an older database may hold: the pages trust neither."""
    User.objects.filter(memberships=world.here.member).update(
        username=HOSTILE["script"], first_name=HOSTILE["attribute"]
    )
    Invitation.objects.filter(pk=world.here.invitation).update(who=HOSTILE["attribute"][:150])
    Run.objects.filter(workspace=world.here.space).update(
        display_name=HOSTILE["script"], reason=HOSTILE["attribute"], hint=HOSTILE["script"], target_name="<b>"
    )
    for name in ("home", "members", "runs:list", "runs:experiments", "runs:submit"):
        answer = owner.get(reverse(name, kwargs={"workspace": "here"}))
        assert answer.status_code == 200, name
        assert not ACTIVE.search(answer.text), name
    for tab in ("logs", "details", "raw"):
        answer = owner.get(reverse("runs:detail", args=["here", world.here.run]) + f"?tab={tab}")
        assert not ACTIVE.search(answer.text), tab


# ---------- Forged forms: another workspace's things in one's own ----------
@pytest.mark.parametrize(
    "forged",
    [
        lambda there: {"like": there.run},
        lambda there: {"like": there.ended_run, "source": "same"},
        lambda there: {"target": there.cluster},
        lambda there: {"source": "same", "snapshot": str(there.snapshot.pk)},
        lambda there: {"source": "upload", "upload": there.upload, "upload_id": there.upload},
        lambda there: {"workspace": "there", "target": there.cluster},
    ],
)
def test_nothing_of_another_workspace_is_submitted(world, queued, forged):
    client = world.client("owner of both")
    before = Run.objects.count()
    answer = client.post("/w/here/submit/", typed(**forged(world.there)))
    assert answer.status_code in {404, 422}
    assert Run.objects.count() == before
    assert not queued


def test_the_form_shows_nothing_of_another_workspace(world):
    client, there = world.client("owner of both"), world.there
    assert client.get(f"/w/here/submit/?like={there.run}").status_code == 404
    page = client.get(f"/w/here/submit/?target={there.cluster}").text
    assert f'value="{there.cluster}"' not in page
    assert there.cluster not in client.get(f"/w/here/submit/check/?target={there.cluster}&node_count=1").text


@pytest.mark.parametrize("many", ["archive", "cancel"])
def test_runs_of_another_workspace_are_not_changed_by_a_list(world, many):
    client, there = world.client("owner of both"), world.there
    before = list(Run.objects.order_by("pk").values())
    client.post(f"/w/here/runs/{many}/", {"run": [there.run, there.ended_run], "confirmed": "1"})
    assert list(Run.objects.order_by("pk").values()) == before


def test_targets_of_another_workspace_are_not_deleted_by_a_list(world):
    before = list(ComputeTarget.objects.order_by("pk").values())
    world.client("owner of both").post("/w/here/compute/delete/", {"target": [world.there.cluster], "confirmed": "1"})
    assert list(ComputeTarget.objects.order_by("pk").values()) == before


def test_the_row_of_a_target_elsewhere_is_not_shown_by_its_id(world):
    pk = ComputeTarget.objects.get(workspace=world.there.space, name=world.there.cluster).pk
    client = world.client("owner of both")
    assert client.get(f"/w/here/compute/targets/{world.here.cluster}/row/?id={pk}").status_code == 404


def test_the_token_of_a_form_elsewhere_brings_nothing_back(world):
    token = uuid4()
    Run.objects.filter(run_id=world.there.run).update(token=token)
    answer = world.client("owner of both").post("/w/here/submit/", typed(token=str(token)))
    assert answer.status_code == 302
    assert world.there.run not in answer["Location"]


@pytest.mark.parametrize("pk", ["999999999999999999999999", "0"])
def test_numbers_that_no_row_has_are_not_found(world, owner, pk):
    for path in (f"/w/here/members/{pk}/", f"/w/here/members/invitations/{pk}/"):
        assert owner.post(path, {"action": "remove"}).status_code == 404
    for path in (f"/w/here/runs/{world.here.run}/outputs/{pk}/outputs/a.txt",):
        assert owner.get(path).status_code == 404
