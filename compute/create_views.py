"""The wizard that creates a cluster. It keeps no session: everything typed lives in the query string."""

import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.forms import BoundField
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from compute import actions, codes, listing, names, sizes
from compute.engines import embedded
from compute.forms import ClusterForm, IdentityForm, is_taken, nodes_that_fit, token_of
from compute.models import ComputeTarget
from compute.prices.price import Price, Prices
from compute.quotas.asking import ask_url
from compute.quotas.bounds import Bound, Headroom, rooms_of_families
from compute.quotas.verdict_views import most_slid
from compute.sizes import VmSize
from compute.states import Priority
from studio.http import StudioRequest, wants_partial
from studio.people.models import User, Workspace
from studio.people.permissions import Right, require

STEPS = {
    1: gettext_lazy("Virtual machine"),
    2: gettext_lazy("Scale & name"),
    3: gettext_lazy("Identity & access"),
    4: gettext_lazy("Review"),
}
HOURS_A_MONTH = 730
LOOKS = ["q", "family", "cores", "memory"]  # what narrows the table of sizes


@dataclass(frozen=True)
class Offer:
    """One size in the picker: what it costs at the chosen priority, and why this machine cannot host it, if so."""

    size: VmSize
    price: Price | None  # in Azure
    here: Price  # on the machine it would be placed on
    verdict: str
    chosen: bool
    bound: Bound | None = None  # the limit that leaves least; None: there is none
    ask: str = ""  # where to ask for more, when not one node is allowed

    @property
    def cannot(self) -> bool:
        return bool(self.verdict or self.ask)


@dataclass(frozen=True)
class Cost:
    """What a cluster costs in US dollars: an hour idle, an hour with all nodes busy, and a month idle."""

    price: Price
    idle: Decimal
    busy: Decimal

    @classmethod
    def of(cls, price: Price | None, spec: codes.ClusterSpec) -> "Cost | None":
        """Return what such a cluster costs at `price`, where that is known."""
        return cls(price, price.amount * spec.min_nodes, price.amount * spec.max_nodes) if price else None

    @property
    def month(self) -> Decimal:
        return self.idle * HOURS_A_MONTH


@require_http_methods(["GET", "HEAD", "POST"])
def create_cluster(request: StudioRequest) -> HttpResponse:
    """Show a step of the wizard, check what is typed for htmx, or create the cluster with a POST of everything."""
    if request.method == "POST":
        return _create(request)
    if token_of(request.GET) is None:
        return redirect(f"{request.path}?{_query(request.GET, token=str(uuid.uuid4()))}")
    step = _step(request.GET)
    form = ClusterForm(request.workspace, request.GET)
    if wants_partial(request):
        return render(request, "compute/_wizard_live.html", _context(request, form, step, checked=False))
    if fixed := request.GET.get("fix"):
        return redirect(f"{request.path}?{_query(request.GET, fix=None, name=fixed)}")
    if go := request.GET.get("go"):
        to = {"next": step + 1, "back": step - 1}.get(go) or (int(go) if go.isdecimal() else step)
        to = min(max(to, 1), 4)
        failing = form.first_failing_step(upto=to - 1) if to > step else None
        if failing is None:
            return redirect(f"{request.path}?{_query(request.GET, go=None, step=str(to))}")
        return render(request, "compute/target_create.html", _context(request, form, failing, checked=True), status=422)
    failing = form.first_failing_step() if step == 4 else None
    context = _context(request, form, failing or step, checked=failing is not None)
    return render(request, "compute/target_create.html", context)


def _create(request: StudioRequest) -> HttpResponse:
    require(request.user, Right.CREATE_COMPUTE, request.workspace)
    token = _once(request)
    made = ComputeTarget.objects.filter(workspace=request.workspace, token=token).first()
    if made is None:
        form = ClusterForm(request.workspace, request.POST)
        if failing := form.first_failing_step():
            context = _context(request, form, failing, checked=True)
            return render(request, "compute/target_create.html", context, status=422)
        made = create_from(form, by=request.user, token=token)
        messages.success(request, _("The cluster %(name)s was created.") % {"name": made.name})
    return redirect("compute:detail", workspace=request.workspace.name, name=made.name)


def create_from(form: ClusterForm, *, by: User, token: uuid.UUID) -> ComputeTarget:
    """Create the cluster that a valid form describes. Raises StudioError, as `create_cluster` does."""
    spec = form.spec()
    return actions.create_cluster(
        form.workspace,
        by=by,
        name=spec.name,
        vm_size=spec.size,
        vm_priority=spec.priority,
        min_nodes=spec.min_nodes,
        max_nodes=spec.max_nodes,
        idle_seconds=spec.idle_seconds,
        description=spec.description,
        tags=spec.tags,
        identity=spec.identity,
        config={"ssh": spec.ssh, "subnet": spec.subnet},
        token=token,
    )


def _once(request: StudioRequest) -> uuid.UUID:
    """Return the token under which this form creates one cluster, however often it is sent.

    It is made of the wizard's token and the name: going back and changing the name is another cluster, and so is
    the same name again once the first one is deleted.
    """
    name = request.POST.get("name", "").strip().lower()
    token = uuid.uuid5(token_of(request.POST) or uuid.uuid4(), f"{request.workspace.pk}/{name}")
    gone = ComputeTarget.objects.filter(token=token).exclude(deleted_at=None)
    return uuid.uuid4() if gone.exists() else token


def like(target: ComputeTarget) -> str:
    """Return the query string that opens the wizard with everything as in `target`, less its name."""
    query = QueryDict(mutable=True)
    spec = codes.ClusterSpec.of(target)
    size = sizes.find(spec.size)
    query.update(
        {
            "priority": spec.priority,
            "type": "GPU" if size and size.is_gpu else "CPU",
            "vm_size": spec.size,
            "min_nodes": str(spec.min_nodes),
            "max_nodes": str(spec.max_nodes),
            "idle_seconds": str(spec.idle_seconds),
            "description": spec.description,
            "tags": "\n".join(f"{key}={value}" for key, value in spec.tags.items()),
            **IdentityForm.initial_of(target),
        }
    )
    if spec.has_ssh:
        query.update({"ssh": "on", "admin_user": spec.ssh["admin_user"], "public_key": spec.ssh["public_key"]})
    if spec.subnet:
        query.update(
            {"vnet_group": spec.subnet["resource_group"], "vnet": spec.subnet["vnet"], "subnet": spec.subnet["subnet"]}
        )
    return query.urlencode()


def _step(query: QueryDict) -> int:
    asked = query.get("step", "1")
    return int(asked) if asked in {"1", "2", "3", "4"} else 1


def _query(query: QueryDict, **changes: str | None) -> str:
    changed = query.copy()
    for key, value in changes.items():
        if value is None:
            changed.pop(key, None)
        else:
            changed[key] = value
    return changed.urlencode()


def _context(request: StudioRequest, form: ClusterForm, step: int, *, checked: bool) -> dict[str, Any]:
    """Return what a step shows. `checked`: also say what is missing, not only what is typed wrongly."""
    fields = {name: _said(form, name, checked=checked) for name in form.STEPS[step]}
    spec, size = form.spec(), form.size
    prices = Prices(request.workspace)
    host = embedded.choose(size) if size else None
    here = prices.here(host.pk if host else None, size.name, spec.priority) if size else None
    capacity = embedded.capacity(embedded.hosts()[0])
    ways = codes.every(spec)
    context = {
        "nav": "compute",
        "form": form,
        "step": step,
        "steps": [(n, label, n < step and form.first_failing_step(upto=n) is None) for n, label in STEPS.items()],
        "next_label": STEPS.get(step + 1),
        "fields": fields,
        "carried": _carried(form, step),
        "token": form.data.get("token", ""),
        "spec": spec,
        "size": size,
        "size_summary": listing.summary(size) if size else "",
        "cost": Cost.of(here, spec),
        "azure_cost": Cost.of(prices.in_azure(size.name, spec.priority), spec) if size else None,
        "fits": nodes_that_fit(size) if size else 0,
        "cores_at_most": spec.max_nodes * size.vcpus if size else None,
        "cores_here": capacity.cpus,
        "codes": ways,
        "code": ways[0],
        "checked": checked,
        "judged": form.judged,
        "most_slid": most_slid(form.judged, size, spec.max_nodes),
        "ask": _ask(request, spec) if size else "",
    }
    if step == 1:
        context |= _picker(request, form, prices)
    if step == 2:
        context["name_check"] = _name_check(form)
    return context


def _ask(request: StudioRequest, spec: codes.ClusterSpec) -> str:
    given = request.POST if request.method == "POST" else request.GET
    back = f"{request.path}?{_query(given, go=None, csrfmiddlewaretoken=None)}"
    return ask_url(
        request.workspace, back=back, size=spec.size, priority=spec.priority,
        min_nodes=spec.min_nodes, max_nodes=spec.max_nodes,
    )  # fmt: skip


def _said(form: ClusterForm, name: str, *, checked: bool) -> dict[str, Any]:
    """Return a field with its errors, which are kept back while it is empty and nobody pressed Next."""
    field: BoundField = form[name]
    errors = field.errors if checked or form.data.get(name) else []
    if not errors:
        field.field.widget.attrs["aria-invalid"] = "false"
    return {"field": field, "errors": errors}


def _carried(form: ClusterForm, step: int) -> list[tuple[str, str]]:
    """Return the answers of the other steps, to be sent along unseen."""
    here = set(form.STEPS[step])
    kept = [*(name for name in form.fields if name not in here), "token", *(LOOKS if step != 1 else [])]
    return [(name, value) for name in kept if (value := form.data.get(name))]


def _picker(request: StudioRequest, form: ClusterForm, prices: Prices) -> dict[str, Any]:
    """Return the sizes that the filter lets through, recommended ones first."""
    data = form.data
    priority = Priority.LOW_PRIORITY if data.get("priority") == Priority.LOW_PRIORITY else Priority.DEDICATED
    gpu = data.get("type") == "GPU"
    of_type = [size for size in sizes.all_sizes() if size.is_gpu == gpu]
    first = sizes.recommended(gpu=gpu)
    begins_with = embedded.default_size()  # four of it fit on this machine
    if not gpu and begins_with not in first:
        first.insert(0, begins_with)
    words = data.get("q", "").lower().split()

    def passes(size: VmSize) -> bool:
        if data.get("family") and size.category != data["family"]:
            return False
        if size.vcpus < _number(data.get("cores")) or size.memory_bytes < _number(data.get("memory")) * sizes.GB:
            return False
        text = f"{size.name} {size.family} {size.category} {listing.summary(size)}".lower()
        return all(word in text for word in words)

    machines = embedded.hosts()
    rooms = rooms_of_families(form.workspace, priority)
    back = request.get_full_path() if request.method == "GET" else request.path

    def ask(size: VmSize, room: Headroom) -> str:
        if not room.never_holds(size.vcpus):
            return ""
        return ask_url(form.workspace, back=back, size=size.name, priority=priority, max_nodes=1)

    offers = [
        Offer(
            size,
            prices.in_azure(size.name, priority),
            prices.here(machines[0].pk, size.name, priority),
            embedded.host_verdict(size, *machines),
            chosen=size.name == data.get("vm_size"),
            bound=rooms[size.family_key].tightest,
            ask=ask(size, rooms[size.family_key]),
        )
        for size in [*first, *(size for size in of_type if size not in first)]
        if passes(size)
    ]
    return {
        "recommended": [o for o in offers if o.size in first and not o.ask],
        "others": [o for o in offers if o.size not in first and not o.ask],
        "without_quota": [o for o in offers if o.ask],
        "offers": len(offers),
        "shows_gpu": gpu,
        "hidden_size": "" if any(o.chosen for o in offers) else data.get("vm_size", ""),
        "looks": {name: data.get(name, "") for name in LOOKS},
        "families": sorted({size.category for size in of_type}),
        "core_steps": ["2", "4", "8", "16", "32"],
        "memory_steps": ["8", "16", "32", "64", "128"],
    }


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0


def _name_check(form: ClusterForm) -> dict[str, Any]:
    """Return each clause of the naming rule, whether the name keeps it, and a name that would."""
    name = form.data.get("name", "").strip()
    clauses = names.check_name(name)
    taken = bool(name) and is_taken(form.workspace, name)
    fits = all(clause.ok for clause in clauses) and not taken
    return {
        "name": name,
        "clauses": clauses,
        "taken": taken,
        "fix": "" if fits or not name else names.suggest(name, _names_in(form.workspace)),
    }


def _names_in(workspace: Workspace) -> set[str]:
    return set(ComputeTarget.objects.existing().filter(workspace=workspace).values_list("name", flat=True))
