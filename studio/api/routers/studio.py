"""How the studio fares, and what holds on its machine: what is not as safe as it could be, and how to mend it."""

from decimal import Decimal
from typing import Any

from ninja import Field, Router, Schema

from studio.http import StudioRequest
from studio.people.permissions import Right, require
from studio.settings_page import settings_facts

router = Router()


class PartFacts(Schema):
    name: str
    is_well: bool
    said: str = Field(description="How it fares, in words.")


class Holds(Schema):
    what: str
    holds: bool
    how: str
    mend: str = Field(description="What to do where it does not hold.")


class Allowed(Schema):
    name: str
    label: str
    allowed: bool
    risk: str = Field(description="What could happen where it is allowed.")


class Gpu(Schema):
    name: str
    memory_bytes: int


class Machine(Schema):
    name: str
    cpus: int
    memory_bytes: int
    gpus: list[Gpu]


class StudioFacts(Schema):
    version: str
    parts: list[PartFacts]
    holds: list[Holds] = Field(description="What keeps runs apart.")
    allowances: list[Allowed] = Field(description="What may be attached and told here, as Owners say.")
    seals_credentials: bool = Field(description="There is a key, so credentials are kept sealed; otherwise none are.")
    sends_mail: bool
    machines: list[Machine]
    cores_given_times: Decimal = Field(description="How often each core is given to nodes.")
    disk_free_bytes: int
    disk_floor_bytes: int = Field(description="Below it, new runs wait.")
    run_disk_bytes: int
    run_processes: int = Field(description="Of one run on a node.")


@router.get("/studio", response=StudioFacts)
def get_studio(request: StudioRequest) -> dict[str, Any]:
    """How the studio fares, its version, and what holds on its machine."""
    require(request.user, Right.VIEW, request.workspace)
    known = settings_facts(request.workspace)
    names = [(one.value, str(one.label), allowed, str(risk)) for one, allowed, risk in known["allowances"]]
    same = {name: known[name] for name in ("version", "run_disk_bytes", "run_processes")}
    return same | {
        "parts": [{name: getattr(one, name) for name in PartFacts.model_fields} for one in known["parts"]],
        "holds": [{name: getattr(one, name) for name in Holds.model_fields} for one in known["holds"]],
        "allowances": [dict(zip(Allowed.model_fields, one, strict=True)) for one in names],
        "seals_credentials": known["can_seal"],
        "sends_mail": known["mail_is_set_up"],
        "machines": [{name: getattr(host, name) for name in Machine.model_fields} for host in known["hosts"]],
        "cores_given_times": Decimal(str(known["overcommit"])),
        "disk_free_bytes": known["free_bytes"],
        "disk_floor_bytes": known["floor_bytes"],
    }
