"""The connection doctor for machines that are reached over SSH: one question after another, each with its evidence."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute import remote, ssh
from compute.drivers.base import Check, CheckState
from compute.drivers.sign_in import SignsIn, has_own_jump
from studio import addresses
from studio.errors import CredentialsRejected, HostKeyChanged, NotAllowedNow, StudioError, TargetUnreachable
from studio.people.models import Allowance

Questions = dict[str, Callable[[SignsIn, remote.Link], Check]]  # of the doctor, key → what finds it out

LEAST_FREE = 1_000_000_000  # bytes
MOST_SKEW = 30  # seconds
GPU_FACTS = "name,driver_version,memory.total"
REACHES_PYPI = "import urllib.request; print(urllib.request.urlopen('https://pypi.org/simple/pip/', timeout=4).status)"
TITLES = {
    "name": gettext_lazy("The name resolves"),
    "port": gettext_lazy("The port answers"),
    "jump_host_key": gettext_lazy("Host key of the jump host"),
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
    "spark": gettext_lazy("Spark"),
    "yarn": gettext_lazy("YARN"),
    "outside": gettext_lazy("Packages can be fetched"),
}
BEFORE = ("name", "port", "host_key", "sign_in")
NEEDED = {"jump_host_key", "name", "port", "host_key", "sign_in", "python", "system", "disk", "spark"}
OK, WARN, BAD, ASK, SKIPPED = CheckState.OK, CheckState.WARN, CheckState.BAD, CheckState.ASK, CheckState.SKIPPED


def found(key: str, state: CheckState, evidence: str = "", remedy: str = "", **facts: object) -> Check:
    """Return one finding under its title."""
    return Check(key, str(TITLES[key]), state, evidence, remedy, key in NEEDED, facts)


def needed(questions: Iterable[str], config: dict[str, Any]) -> frozenset[str]:
    """Return the keys of the checks that have to be well for a kind with these questions."""
    asked = {*BEFORE, *questions} | ({"jump_host_key"} if has_own_jump(config) else set())
    return frozenset(asked & NEEDED)


def failed(key: str, exc: StudioError) -> Check:
    return found(key, BAD, exc.message, exc.hint)


def checks(driver: SignsIn, questions: Questions) -> Iterator[Check]:
    """Look at name, port, host key and sign-in, then at the machine; what cannot be asked any more is skipped."""
    own_jump = ["jump_host_key"] if has_own_jump(driver.config) else []
    ahead = [*own_jump, *BEFORE, *questions]

    def skipped() -> Iterator[Check]:
        return (found(key, SKIPPED) for key in ahead)

    for check in _up_to_sign_in(driver):
        ahead.remove(check.key)
        yield check
        if check.state in {BAD, ASK}:
            yield from skipped()
            return
    ahead.remove("sign_in")
    try:
        link = remote.begin(driver.account())
    except (CredentialsRejected, HostKeyChanged) as exc:
        yield failed("sign_in", exc)
        yield from skipped()
        return
    except StudioError as exc:
        ahead.remove("python")
        yield found("sign_in", OK, _("signed in as %(name)s") % {"name": driver.config["username"]})
        yield failed("python", exc)
        yield from skipped()
        return
    yield found("sign_in", OK, _("signed in as %(name)s") % {"name": driver.config["username"]})
    try:
        while ahead:
            yield questions[ahead[0]](driver, link)
            del ahead[0]
    except (StudioError, OSError, ValueError) as exc:
        yield replace(found(ahead.pop(0), BAD, ssh.words(exc), _("Check again.")), needed=True)  # of more than itself
        yield from skipped()
    finally:
        link.close()


def _up_to_sign_in(driver: SignsIn) -> Iterator[Check]:
    account = driver.account()
    if account.jump and has_own_jump(driver.config):
        check = _jump_key(account.jump)
        yield check
        if check.state != OK:
            return
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


def _jump_key(jump: ssh.Account) -> Check:
    """Look at the key of a jump host; one that nobody has said yes to, also in the place of another, is asked for."""
    shown: ssh.HostKey | None
    try:
        shown = ssh.host_key_of(jump)
    except HostKeyChanged as exc:
        shown = exc.shown
    except StudioError as exc:
        return failed("jump_host_key", exc)
    if shown is None:
        return found("jump_host_key", BAD, _("it shows no host key"), _("Check again."))
    pinned = jump.host_key
    evidence = f"{shown['type']} {shown['sha256']}"
    if pinned is None:
        remedy = _("Compare it with what the machine itself prints, then say yes once.")
        return found("jump_host_key", ASK, evidence, remedy, host_key=shown)
    if (pinned["type"], pinned["key"]) == (shown["type"], shown["key"]):
        return found("jump_host_key", OK, evidence)
    remedy = _("It was %(old)s. Somebody set it up anew, or stands in between: compare before you say yes.")
    return found("jump_host_key", ASK, evidence, remedy % {"old": pinned["sha256"]}, host_key=shown)


def shell(driver: SignsIn, link: remote.Link) -> Check:
    if not link.noise:
        return found("shell", OK)
    said = _("it says %(n)d bytes of its own before anything is asked; they are cut off") % {"n": link.noise}
    return found("shell", WARN, said, _("Let its start-up files speak in terminals only."))


def python(driver: SignsIn, link: remote.Link) -> Check:
    """Name the Python that runs have: of the machine, or the one that the form names, which has to answer."""
    named = driver.config.get("python") or "python3"
    if named == "python3" or driver.config.get("environment", "system") != "system":
        return found("python", OK, f"Python {link.facts['python']}")
    code, said = link.ask("run", argv=["/usr/bin/env", named, "--version"], seconds=5)
    if code == 0 and said.startswith("Python "):
        return found("python", OK, f"{named}: {_line(said)}")
    remedy = _("Name one that is there: python3, or a whole path such as /opt/venv/bin/python.")
    return found("python", BAD, f"{named}: {_line(said) or _('it does not answer')}", remedy)


def disk(driver: SignsIn, link: remote.Link) -> Check:
    free = int(link.facts["free_bytes"])
    said = _("%(n).1f GB free in the home folder") % {"n": free / 1e9}
    return found("disk", OK if free >= LEAST_FREE else BAD, said, "" if free >= LEAST_FREE else _("Make room there."))


def clock(driver: SignsIn, link: remote.Link) -> Check:
    skew = round(link.skew, 1) or 0.0  # and no -0.0
    said = _("%(n)+.1f s from the studio's") % {"n": skew}
    if abs(skew) <= MOST_SKEW:
        return found("clock", OK, said)
    return found("clock", WARN, said, _("Switch on time synchronisation: timedatectl set-ntp true"))


def outside(driver: SignsIn, link: remote.Link) -> Check:
    code, _said = link.ask("run", argv=["python3", "-c", REACHES_PYPI], seconds=5)
    if code == 0:
        return found("outside", OK, "pypi.org")
    said = _("pypi.org does not answer it")
    return found("outside", WARN, said, _("Runs that name pip requirements will fail; use what is installed there."))


def system(driver: SignsIn, link: remote.Link) -> Check:
    """Only Ubuntu is taken, unless an Owner allows others. Source: azure-ml facts J2."""
    _code, text = link.ask("run", argv=["cat", "/etc/os-release"], seconds=3)
    told = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    name = told.get("PRETTY_NAME", "").strip('"')[:100] or _("it does not say what it is")
    if told.get("ID", "").strip('"') == "ubuntu":
        return found("system", OK, name)
    if driver.target.workspace.allows(Allowance.OTHER_LINUX):
        return found("system", WARN, name, _("An Owner allows machines that do not run Ubuntu."))
    return found("system", BAD, name, _("An Owner of the workspace can allow other Linux systems, under Studio."))


def conda(driver: SignsIn, link: remote.Link) -> Check:
    """Find conda, and in it the environment that the form names."""
    needed = driver.config.get("environment") == "conda"
    there = link.ask("which", names=["conda"])["conda"]
    if not there:
        return _lacks("conda", needed=needed, remedy=_("Install Miniforge there, or use the system’s Python."))
    if not needed:
        return found("conda", OK, str(there)[:200])
    name = driver.config["conda_name"]
    code, said = link.ask("run", argv=["conda", "run", "-n", name, "python", "--version"], seconds=20, patience=30)
    if code == 0:
        return found("conda", OK, f"{name}: {_line(said)}")
    remedy = _("Name one with a Python in it that “conda env list” shows there.")
    evidence = f"{name}: {_line(said) or _('it does not answer')}"
    return replace(found("conda", BAD, evidence, remedy), needed=True)


def docker(driver: SignsIn, link: remote.Link) -> Check:
    code, said = link.ask("run", argv=["docker", "version", "--format", "{{.Server.Version}}"], seconds=4)
    needed = driver.config.get("environment") == "docker"
    if code == 0 and needed:
        return _image(driver.config["docker_image"], said.strip()[:100], link)
    if code == 0:
        return found("docker", OK, said.strip()[:100])
    return _lacks("docker", needed=needed, remedy=_("Install it there, and add the user to the group docker."))


def _image(name: str, version: str, link: remote.Link) -> Check:
    code, _said = link.ask("run", argv=["docker", "image", "inspect", "--format", "{{.Id}}", name], seconds=5)
    if code == 0:
        return found("docker", OK, _("%(version)s, and %(image)s is there") % {"version": version, "image": name})
    said = _("%(version)s; %(image)s is not there yet") % {"version": version, "image": name}
    return found("docker", WARN, said, _("The first run fetches it, which takes a while: docker pull, to try it now."))


def gpu(driver: SignsIn, link: remote.Link) -> Check:
    """Name the GPUs, their driver and memory; what is there and has no working driver is told apart from none."""
    code, said = link.ask("run", argv=["nvidia-smi", f"--query-gpu={GPU_FACTS}", "--format=csv,noheader"], seconds=5)
    if code == 127:
        return found("gpu", OK, _("none; runs use its CPUs"))
    if code:
        words = " ".join(said.split())[:300] or _("nvidia-smi does not answer")
        return found("gpu", WARN, words, _("Install or restart the driver: runs see no GPU as it is."))
    named = []
    for line, n in Counter(said.splitlines()[:64]).items():
        name, version, memory = ([part.strip() for part in line.split(",")] + ["?", "?"])[:3]
        named.append(
            (f"{n} × " if n > 1 else "")
            + _("%(name)s, driver %(version)s, %(memory)s") % {"name": name, "version": version, "memory": memory}
        )
    return found("gpu", OK, "; ".join(named)[:300])


def _line(said: str) -> str:
    return " ".join(said.split())[-300:]


def _lacks(key: str, *, needed: bool, remedy: str) -> Check:
    if not needed:
        return found(key, OK, _("not there, and not asked for"))
    return Check(key, str(TITLES[key]), BAD, _("not there"), remedy, needed=True)
