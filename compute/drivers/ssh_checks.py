"""The connection doctor for machines that are reached over SSH: one question after another, each with its evidence."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute import addresses, remote, ssh
from compute.drivers.base import Check, CheckState
from studio.errors import CredentialsRejected, HostKeyChanged, NotAllowedNow, StudioError, TargetUnreachable
from studio.people.models import Allowance

if TYPE_CHECKING:
    from compute.drivers.overssh import OverSsh

LEAST_FREE = 1_000_000_000  # bytes
MOST_SKEW = 30  # seconds
REACHES_PYPI = "import urllib.request; print(urllib.request.urlopen('https://pypi.org/simple/pip/', timeout=4).status)"
TITLES = {
    "name": gettext_lazy("The name resolves"),
    "port": gettext_lazy("The port answers"),
    "host_key": gettext_lazy("Host key"),
    "sign_in": gettext_lazy("Signing in"),
    "shell": gettext_lazy("The login shell is clean"),
    "python": gettext_lazy("Python"),
    "system": gettext_lazy("Ubuntu"),
    "disk": gettext_lazy("Disk space"),
    "clock": gettext_lazy("Clock"),
    "conda": gettext_lazy("conda"),
    "docker": gettext_lazy("Docker"),
    "gpu": gettext_lazy("GPU and driver"),
    "outside": gettext_lazy("Packages can be fetched"),
}
NEEDED = {"name", "port", "host_key", "sign_in", "python", "system", "disk"}
OK, WARN, BAD, ASK, SKIPPED = CheckState.OK, CheckState.WARN, CheckState.BAD, CheckState.ASK, CheckState.SKIPPED


def found(key: str, state: CheckState, evidence: str = "", remedy: str = "", **facts: object) -> Check:
    """Return one finding under its title."""
    return Check(key, str(TITLES[key]), state, evidence, remedy, key in NEEDED, facts)


def failed(key: str, exc: StudioError) -> Check:
    return found(key, BAD, exc.message, exc.hint)


def checks(driver: "OverSsh") -> Iterator[Check]:
    """Look at name, port, host key and sign-in, then at the machine; what cannot be asked any more is skipped."""
    done: set[str] = set()
    for check in _up_to_sign_in(driver):
        done.add(check.key)
        yield check
        if check.state in {BAD, ASK}:
            yield from (found(key, SKIPPED) for key in TITLES if key not in done)
            return
    try:
        link = remote.begin(driver.account())
    except (CredentialsRejected, HostKeyChanged) as exc:
        yield failed("sign_in", exc)
        yield from (found(key, SKIPPED) for key in TITLES if key not in done | {"sign_in"})
        return
    except StudioError as exc:
        yield found("sign_in", OK, _("signed in as %(name)s") % {"name": driver.config["username"]})
        yield failed("python", exc)
        yield from (found(key, SKIPPED) for key in TITLES if key not in done | {"sign_in", "python"})
        return
    try:
        yield from _inside(driver, link)
    except (StudioError, OSError, ValueError) as exc:
        yield found("shell", BAD, ssh.words(exc), _("Check again."))
    finally:
        link.close()


def _up_to_sign_in(driver: "OverSsh") -> Iterator[Check]:
    account = driver.account()
    if account.jump is None:
        try:
            places = addresses.places_of(account.address, account.port, inside=account.inside)
        except (TargetUnreachable, NotAllowedNow) as exc:
            yield failed("name", exc)
            return
        yield found("name", OK, ", ".join(dict.fromkeys(place.address for place in places)))
    else:
        yield found("name", OK, _("asked for by the jump host %(name)s") % {"name": account.jump.name})
    try:
        shown = ssh.host_key_of(account)
    except StudioError as exc:
        yield failed("port", exc)
        return
    yield found("port", OK, _("SSH answers on port %(port)d") % {"port": account.port})
    pinned = account.host_key
    evidence = f"{shown['type']} {shown['sha256']}"
    if pinned is None:
        remedy = _("Compare it with what the machine itself prints, then say yes once.")
        yield found("host_key", ASK, evidence, remedy, host_key=shown)
    elif pinned["type"] == shown["type"] and pinned["key"] != shown["key"]:
        remedy = _("Somebody set it up anew, or stands in between. Compare before you accept it.")
        yield found("host_key", BAD, evidence, remedy, host_key=shown)
    else:
        yield found("host_key", OK, f"{pinned['type']} {pinned['sha256']}")


def _inside(driver: "OverSsh", link: remote.Link) -> Iterator[Check]:
    """Ask a machine that lets us in what it has."""
    facts = link.facts
    yield found("sign_in", OK, _("signed in as %(name)s") % {"name": driver.config["username"]})
    if link.noise:
        said = _("it says %(n)d bytes of its own before anything is asked; they are cut off") % {"n": link.noise}
        yield found("shell", WARN, said, _("Let its start-up files speak in terminals only."))
    else:
        yield found("shell", OK)
    yield found("python", OK, f"Python {facts['python']}")
    yield _system(driver, link)
    free = int(facts["free_bytes"])
    said = _("%(n).1f GB free in the home folder") % {"n": free / 1e9}
    yield found("disk", OK if free >= LEAST_FREE else BAD, said, "" if free >= LEAST_FREE else _("Make room there."))
    skew = float(facts["time"]) - time.time()
    said = _("%(n)+.1f s from the studio's") % {"n": skew}
    slow = abs(skew) > MOST_SKEW
    yield found(
        "clock",
        WARN if slow else OK,
        said,
        _("Switch on time synchronisation: timedatectl set-ntp true") if slow else "",
    )
    yield from _programs(driver, link)
    code, _said = link.ask("run", argv=["python3", "-c", REACHES_PYPI], seconds=5)
    if code == 0:
        yield found("outside", OK, "pypi.org")
    else:
        said = _("pypi.org does not answer it")
        yield found("outside", WARN, said, _("Runs that name pip requirements will fail; use what is installed there."))


def _system(driver: "OverSsh", link: remote.Link) -> Check:
    """Only Ubuntu is taken, unless an Owner allows others. Source: azure-ml facts J2."""
    _code, text = link.ask("run", argv=["cat", "/etc/os-release"], seconds=3)
    told = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    name = told.get("PRETTY_NAME", "").strip('"')[:100] or _("it does not say what it is")
    if told.get("ID", "").strip('"') == "ubuntu":
        return found("system", OK, name)
    if driver.target.workspace.allows(Allowance.OTHER_LINUX):
        return found("system", WARN, name, _("An Owner allows machines that do not run Ubuntu."))
    return found("system", BAD, name, _("An Owner of the workspace can allow other Linux systems, under Studio."))


def _programs(driver: "OverSsh", link: remote.Link) -> Iterator[Check]:
    wanted = driver.config.get("environment", "system")
    there = link.ask("which", names=["conda", "docker", "nvidia-smi"])
    if there["conda"]:
        yield found("conda", OK, str(there["conda"])[:200])
    else:
        yield _lacks(
            "conda", needed=wanted == "conda", remedy=_("Install Miniforge there, or use the system’s Python.")
        )
    code, said = link.ask("run", argv=["docker", "version", "--format", "{{.Server.Version}}"], seconds=4)
    if code == 0:
        yield found("docker", OK, said.strip()[:100])
    else:
        remedy = _("Install it there, and add the user to the group docker.")
        yield _lacks("docker", needed=wanted == "docker", remedy=remedy)
    code, said = link.ask("run", argv=["nvidia-smi", "-L"], seconds=5)
    if code == 0:
        yield found("gpu", OK, said.strip()[:300])
    else:
        yield found("gpu", OK, _("none; runs use its CPUs"))


def _lacks(key: str, *, needed: bool, remedy: str) -> Check:
    if not needed:
        return found(key, OK, _("not there, and not asked for"))
    return Check(key, str(TITLES[key]), BAD, _("not there"), remedy, needed=True)
