"""Any Linux machine over SSH: a job is a detached process of the user who signs in."""

import hashlib
import re
import shlex
from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute import remote
from compute.drivers import ssh_checks
from compute.drivers.base import Need
from compute.drivers.overssh import NO_ENVIRONMENT, OverSsh
from compute.drivers.ssh_form import NEEDS, SshForm
from compute.models import Job

SYSTEM, CONDA, DOCKER = "system", "conda", "docker"
_CONDA_NAME = re.compile(r"[^\s/:#\-][^\s/:#]*")  # Source: conda's own rule for names
_IMAGE = re.compile(r"[a-z0-9][\w.\-:/@]*", re.ASCII | re.IGNORECASE)  # Source: distribution/reference, its alphabet
DOCKER_RUN = ["/usr/bin/env", "docker", "run", "--rm", "--init"]


class VirtualMachineForm(SshForm):
    shown_with: ClassVar[dict[str, tuple[str, str]]] = {
        **SshForm.shown_with,
        "python": ("environment", SYSTEM),
        "conda_name": ("environment", CONDA),
        "docker_image": ("environment", DOCKER),
    }
    provider, resource = "Microsoft.Compute", "virtualMachines"

    environment = forms.ChoiceField(
        label=gettext_lazy("Where scripts run"),
        choices=[
            (SYSTEM, gettext_lazy("A Python of the machine")),
            (CONDA, gettext_lazy("A conda environment")),
            (DOCKER, gettext_lazy("A Docker image")),
        ],
        initial=SYSTEM,
        widget=forms.RadioSelect,
    )
    python = forms.CharField(label=gettext_lazy("Python"), initial="python3", max_length=255, required=False)
    conda_name = forms.CharField(label=gettext_lazy("Name of the conda environment"), max_length=100, required=False)
    docker_image = forms.CharField(label=gettext_lazy("Docker image"), max_length=300, required=False)

    def clean_python(self) -> str:
        """Hold that it is a program: what begins with a hyphen, or has an equals sign, `env` takes for its own."""
        python = str(self.cleaned_data["python"]).strip()
        if python.startswith("-") or "=" in python or not python.isprintable():
            raise forms.ValidationError(_("This is no name or path of a program."))
        return python

    def clean_conda_name(self) -> str:
        name = str(self.cleaned_data["conda_name"]).strip()
        if name and not _CONDA_NAME.fullmatch(name):
            raise forms.ValidationError(_("This is no name of a conda environment."))
        return name

    def clean_docker_image(self) -> str:
        image = str(self.cleaned_data["docker_image"]).strip()
        if image and not _IMAGE.fullmatch(image):
            raise forms.ValidationError(
                _("This is no name of an image; one reads registry.example.org/team/image:tag.")
            )
        return image

    def clean(self) -> dict[str, Any]:
        """Hold that the chosen environment is named."""
        cleaned = super().clean()
        for environment, field in ((CONDA, "conda_name"), (DOCKER, "docker_image")):
            if cleaned.get("environment") == environment and not str(cleaned.get(field, "")).strip():
                self.add_error(field, _("Name it."))
        return cleaned


class VirtualMachineDriver(OverSsh):
    label = gettext_lazy("Virtual machine (SSH)")
    form = VirtualMachineForm
    needs = (
        Need(
            gettext_lazy("Its address"),
            gettext_lazy("A name or an IP address that this studio’s machine can reach."),
            "hostname -f; hostname -I",
        ),
        *NEEDS,
    )

    questions: ClassVar[ssh_checks.Questions] = {
        "shell": ssh_checks.shell,
        "python": ssh_checks.python,
        "system": ssh_checks.system,
        "disk": ssh_checks.disk,
        "clock": ssh_checks.clock,
        "conda": ssh_checks.conda,
        "docker": ssh_checks.docker,
        "gpu": ssh_checks.gpu,
        "outside": ssh_checks.outside,
    }

    def command(self, job: Job, link: remote.Link) -> tuple[list[str], list[tuple[str, str]]]:
        """Run the script with the Python that run and target ask for, its environment made first where it is new."""
        script = [job.spec["script"], *job.spec["arguments"]]
        asked = job.spec["environment"]
        if asked["kind"] != "interpreter":
            name = hashlib.sha256(f"{asked['kind']}\n{asked['text']}".encode()).hexdigest()[:16]
            place = f"{link.facts['root']}/environments/{name}"
            start = _start_script(asked["kind"], place, self.config.get("python") or "python3")
            top = f"{link.facts['root']}/runs/{job.run_id}/{job.attempt}"
            return ["/bin/sh", f"{top}/start.sh", *script], [("start.sh", start), ("environment", asked["text"])]
        return [*self._python(job, link, asked.get("interpreter", "")), *script], []

    def _python(self, job: Job, link: remote.Link, asked: str) -> list[str]:
        config = self.config
        if asked:
            return ["/usr/bin/env", asked] if "/" not in asked else [asked]
        if config.get("environment") == CONDA:
            return ["/usr/bin/env", "conda", "run", "--no-capture-output", "-n", config["conda_name"], "python"]
        if config.get("environment") == DOCKER:
            work = f"{link.facts['root']}/runs/{job.run_id}/{job.attempt}/rank-0"
            names = [n for v in (*job.spec["variables"], "PYTHONUNBUFFERED", "AZUREML_RUN_ID") for n in ("-e", v)]
            mounted = ["-v", f"{work}:{work}", "-w", work, *names]
            labels = ["--label", f"compute-studio.run={job.run_id}", "--label", f"compute-studio.attempt={job.attempt}"]
            named = ["--name", _container_name(job, work), *labels]
            return [*DOCKER_RUN, *named, *mounted, config["docker_image"], "python"]
        return ["/usr/bin/env", config.get("python") or "python3"]

    def container(self, argv: list[str]) -> str:
        return argv[argv.index("--name") + 1] if argv[: len(DOCKER_RUN)] == DOCKER_RUN else ""


def _container_name(job: Job, work: str) -> str:
    """Return the name of an attempt's container: of letters that Docker takes, and no other user's of that machine."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "-" for c in f"{job.run_id}.{job.attempt}")
    return f"studio-{plain[:80]}-{hashlib.sha256(work.encode()).hexdigest()[:12]}"


def _start_script(kind: str, place: str, python: str) -> str:
    """Return a script that makes an environment at `place` unless it stands, and becomes the program in it."""
    make = (
        f'{shlex.quote(python)} -m venv "$place" && "$place/bin/python" -m pip install'
        ' --disable-pip-version-check --no-input -r "$(dirname "$0")/environment"'
        if kind == "pip"
        else 'cp "$(dirname "$0")/environment" "$place.yml" && conda env create --yes -p "$place" -f "$place.yml"'
    )
    return f"""#!/bin/sh
# Whoever comes first makes the environment; the others wait for it.
place={shlex.quote(place)}
exec 9>"$place.lock"
flock 9
if [ ! -e "$place/.ready" ]; then
  echo "studio: making the environment, which later runs share"
  rm -rf "$place"
  if {{ {make}; }} 9>&-; then
    touch "$place/.ready"
  else
    echo "studio: the environment could not be made"
    exit {NO_ENVIRONMENT}
  fi
fi
exec 9>&-
exec "$place/bin/python" "$@"
"""
