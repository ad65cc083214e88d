"""The run configuration: what a person asks to be run, as plain values that go into `Run.config` and come back.

Names follow the provider's `.runconfig`; see `to_json`.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

DEFAULT_MAX_SECONDS = 2_592_000  # 30 days. Source: ScriptRunConfig in azureml-core 1.61
DEFAULT_RESTARTS = 3  # times a preempted run is started again before it fails


@dataclass(frozen=True)
class EnvironmentSpec:
    """What the script needs around it.

    `interpreter`: an existing Python, by path or name (empty: the one that runs the studio).
    `pip`: `text` is a requirements file. `conda`: `text` is a conda environment file (YAML).
    """

    kind: Literal["interpreter", "pip", "conda"] = "interpreter"
    interpreter: str = ""
    text: str = ""


@dataclass(frozen=True)
class RunConfiguration:
    script: str
    arguments: list[str] = field(default_factory=list)
    environment: EnvironmentSpec = field(default_factory=EnvironmentSpec)
    variables: dict[str, str] = field(default_factory=dict)
    node_count: int = 1
    max_seconds: int = DEFAULT_MAX_SECONDS
    restarts: int = DEFAULT_RESTARTS
    options: dict[str, Any] = field(default_factory=dict)  # what the target's kind asks of a run: its `run_form`

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON for `Run.config`."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "RunConfiguration":
        """Return the configuration `to_json` wrote; unknown keys of a later version are left out."""
        known = {k: v for k, v in stored.items() if k in cls.__dataclass_fields__}
        return cls(**known | {"environment": EnvironmentSpec(**stored.get("environment", {}))})
