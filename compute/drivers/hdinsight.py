"""An Azure HDInsight cluster, or any other machine with Spark on it: a job is a spark-submit on its head node."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop

from compute import farspark, launch, remote
from compute.drivers import ssh_checks
from compute.drivers.base import Check, CheckState, JobReport, Need, Phase, RunForm
from compute.drivers.overssh import OverSsh
from compute.drivers.sign_in import SignsIn
from compute.drivers.ssh_form import NEEDS, SshForm
from compute.models import Job
from studio.errors import CannotEverRun

CLUSTER, CLIENT, LOCAL = "cluster", "client", "local"
DOMAIN = ".azurehdinsight.net"
BEFORE_RUNNING = {"NEW", "NEW_SAVING", "SUBMITTED", "ACCEPTED"}  # Source: YARN's YarnApplicationState
MOST_SETTINGS = 200
_SETTING = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]{0,199}\Z")
_PACKAGE = re.compile(r"[\w.\-]+:[\w.\-]+:[\w.\-]+\Z", re.ASCII)
_MEMORY = re.compile(r"[1-9][0-9]{0,6}[kmgt]b?\Z", re.ASCII | re.IGNORECASE)
_VERSION = re.compile(r"version (\d[\w.\-]{0,40})")


class HDInsightForm(SshForm):
    provider, resource = "Microsoft.HDInsight", "clusters"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["address"].help_text = _("CLUSTER-ssh.azurehdinsight.net; the head node answers there.")
        self.fields["username"].help_text = _("The SSH user of the cluster, which is not its HTTP login.")

    def clean_address(self) -> str:
        address = super().clean_address()
        if address.endswith(DOMAIN) and not address.removesuffix(DOMAIN).endswith("-ssh"):
            right = address.removesuffix(DOMAIN) + "-ssh" + DOMAIN
            raise forms.ValidationError(_("Pages answer there; SSH does at %(address)s.") % {"address": right})
        return address


class SparkRunForm(RunForm):
    """How one run is submitted to Spark. Source: azure-ml facts J3, `hdi.yarn_deploy_mode`."""

    mode = forms.ChoiceField(
        label=gettext_lazy("Where the driver runs"),
        choices=[
            (CLUSTER, gettext_lazy("In the cluster (YARN, deploy mode cluster)")),
            (CLIENT, gettext_lazy("On the head node (YARN, deploy mode client)")),
            (LOCAL, gettext_lazy("On the head node alone, without YARN")),
        ],
        initial=CLUSTER,
        help_text=gettext_lazy("From the cluster a script’s own outputs folder does not come back: write to storage."),
    )
    executors = forms.IntegerField(label=gettext_lazy("Executors"), required=False, min_value=1, max_value=10_000)
    executor_cores = forms.IntegerField(
        label=gettext_lazy("Cores of an executor"), required=False, min_value=1, max_value=1000
    )
    executor_memory = forms.CharField(
        label=gettext_lazy("Memory of an executor"),
        required=False,
        max_length=10,
        help_text=gettext_lazy("Such as 4g."),
    )
    driver_memory = forms.CharField(label=gettext_lazy("Memory of the driver"), required=False, max_length=10)
    packages = forms.CharField(
        label=gettext_lazy("Spark packages"),
        required=False,
        max_length=4000,
        help_text=gettext_lazy("Maven coordinates, group:artifact:version, with commas between them."),
    )
    settings = forms.CharField(
        label=gettext_lazy("Spark configuration"),
        required=False,
        max_length=50_000,
        widget=forms.Textarea(attrs={"class": "code-input", "rows": 4, "spellcheck": "false"}),
        help_text=gettext_lazy("One name=value a line, such as spark.sql.shuffle.partitions=64."),
    )

    def clean_executor_memory(self) -> str:
        return _memory(self.cleaned_data["executor_memory"])

    def clean_driver_memory(self) -> str:
        return _memory(self.cleaned_data["driver_memory"])

    def clean_packages(self) -> str:
        names = str(self.cleaned_data["packages"]).replace(",", " ").split()
        for name in names:
            if not _PACKAGE.match(name):
                raise forms.ValidationError(
                    _("“%(name)s” does not read group:artifact:version.") % {"name": name[:100]}
                )
        return ",".join(names)

    def clean_settings(self) -> str:
        return "\n".join(f"{name}={value}" for name, value in settings_of(self.cleaned_data["settings"]))


def _spark_remedy() -> str:
    return _("Attach a cluster of the type Spark, or put spark-submit on the PATH of its user.")


def _spark(driver: SignsIn, link: remote.Link) -> Check:
    code, said = link.ask("run", argv=["spark-submit", "--version"], seconds=30, patience=40)
    version = _VERSION.search(said)
    if code == 0 and version:
        return ssh_checks.found("spark", CheckState.OK, f"Spark {version[1]}")
    evidence = _("not there") if code == 127 else said.strip()[-200:]
    return ssh_checks.found("spark", CheckState.BAD, evidence, _spark_remedy())


def _yarn(driver: SignsIn, link: remote.Link) -> Check:
    if there := link.ask("which", names=["yarn"])["yarn"]:
        return ssh_checks.found("yarn", CheckState.OK, str(there)[:200])
    return ssh_checks.found("yarn", CheckState.WARN, _("not there"), _("Runs can use the head node alone."))


class HDInsightDriver(OverSsh):
    label = gettext_lazy("HDInsight (Spark)")
    form = HDInsightForm
    run_form = SparkRunForm
    environments = frozenset({"interpreter"})
    questions: ClassVar[ssh_checks.Questions] = {
        "shell": ssh_checks.shell,
        "python": ssh_checks.python,
        "spark": _spark,
        "yarn": _yarn,
        "disk": ssh_checks.disk,
        "clock": ssh_checks.clock,
    }
    least_grace = 30.0  # for YARN to end the application
    needs = (
        Need(
            gettext_lazy("The address of its head node"),
            gettext_lazy("In the Azure portal, under SSH + cluster login of the cluster."),
            "az hdinsight show -g GROUP -n CLUSTER --query properties.connectivityEndpoints",
        ),
        *NEEDS,
    )

    def command(self, job: Job, link: remote.Link) -> tuple[list[str], list[tuple[str, str]]]:
        """Run `farspark` in front of spark-submit. Raises CannotEverRun where it needs a YARN that is not there."""
        asked = {"mode": CLUSTER, **job.spec["options"]}
        there = link.ask("which", names=["spark-submit", "yarn"])
        if not there["spark-submit"]:
            raise CannotEverRun(_("%(name)s has no spark-submit.") % {"name": self.target.name}, _spark_remedy())
        if asked["mode"] != LOCAL and not there["yarn"]:
            raise CannotEverRun(
                _("%(name)s has no YARN.") % {"name": self.target.name},
                _("Choose “On the head node alone, without YARN”."),
            )
        python = job.spec["environment"].get("interpreter") or ""
        order = {
            "mode": asked["mode"],
            "options": [*_options(asked, python), "--name", job.run_name or job.run_id],
            "settings": dict(settings_of(asked.get("settings") or "")),
            "variables": {name: str(value) for name, value in (_python(job) | launch.variables_of(job)).items()},
        }
        top = f"{link.facts['root']}/runs/{job.run_id}/{job.attempt}"
        argv = ["/usr/bin/env", "python3", f"{top}/spark.py", job.spec["script"], *job.spec["arguments"]]
        return argv, [("spark.py", Path(farspark.__file__).read_text()), ("order.json", json.dumps(order))]

    def variables(self, job: Job, link: remote.Link) -> dict[str, Any]:
        return _python(job) | super().variables(job, link)

    def queues(self, job: Job) -> bool:
        return bool(job.spec["options"].get("mode", CLUSTER) == CLUSTER)

    def completed(self, report: JobReport, link: remote.Link, folder: str) -> JobReport:
        """Add what YARN calls the application, how it is, and its page. What it says is the cluster's word."""
        try:
            told = json.loads(link.ask("read", folder=folder, path="facts.json", at=0, most=10_000) or b"{}")
        except (OSError, ValueError):  # YARN has not said anything yet
            return report
        known = {"application", "page", "state"}
        facts = {key: str(told[key])[:500] for key in known & told.keys()} if isinstance(told, dict) else {}
        if report.phase == Phase.RUNNING and facts.get("state") in BEFORE_RUNNING:
            waits = gettext_noop("Waits for YARN to find a place for it: %(state)s.") % {"state": facts["state"]}
            return replace(report, phase=Phase.QUEUED, waits=waits, facts=facts)
        return replace(report, facts=facts)


def settings_of(text: str) -> list[tuple[str, str]]:
    """Return the names and values of typed lines. Raises ValidationError, naming the line that is wrong."""
    found = []
    for line in text.splitlines():
        name, equals, value = (part.strip() for part in line.partition("="))
        if not name and not equals:
            continue
        if not equals or not _SETTING.match(name) or not value.isprintable():
            raise forms.ValidationError(_("“%(line)s” does not read name=value.") % {"line": line[:100]})
        found.append((name, value))
    if len(found) > MOST_SETTINGS:
        raise forms.ValidationError(_("%(n)d lines are too many.") % {"n": len(found)})
    return found


def _python(job: Job) -> dict[str, str]:
    python = job.spec["environment"].get("interpreter")
    return {"PYSPARK_PYTHON": python, "PYSPARK_DRIVER_PYTHON": python} if python else {"PYSPARK_PYTHON": "python3"}


def _memory(typed: str) -> str:
    if typed.strip() and not _MEMORY.match(typed.strip()):
        raise forms.ValidationError(_("Write a whole number and a unit: 512m, 4g."))
    return typed.strip()


def _options(asked: dict[str, Any], python: str) -> list[str]:
    """Return spark-submit's own arguments. Every user of the head node sees them, so settings are not among them."""
    if asked["mode"] == LOCAL:
        options = ["--master", "local[*]"]
    else:
        options = ["--master", "yarn", "--deploy-mode", asked["mode"]]
    named = {
        "--num-executors": "executors",
        "--executor-cores": "executor_cores",
        "--executor-memory": "executor_memory",
        "--driver-memory": "driver_memory",
        "--packages": "packages",
    }
    for option, field in named.items():
        if asked.get(field):
            options += [option, str(asked[field])]
    if python and asked["mode"] == CLUSTER:
        options += ["--conf", f"spark.yarn.appMasterEnv.PYSPARK_PYTHON={python}"]
    return options
