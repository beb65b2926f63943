"""Settings, read once from the environment; every wrong value is told at once."""

from __future__ import annotations

import ipaddress
import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gateway import errors, setting_values

SECRETS = {
    "API_KEYS",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_CONNECTION_STRING",
    "HF_TOKEN",
    "HTTP_AUTH_HEADER_VALUE",
    "MANIFEST_JSON",
    "SYSTEM_WEBHOOK_URL",
    "WARMUP_PROMPT_URL",
    "WEBHOOK_SECRET",
}

_META = "SYSTEM_META_"

CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(setting_values.split)]
_Lower = BeforeValidator(setting_values.lower)


class Settings(BaseSettings):
    """What an operator may set; each field's name in capitals is its variable."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        case_sensitive=False,
        # Sizes and times become integers and dates.
        allow_inf_nan=False,
    )

    host: str = Field("::", description="Address the gateway listens on.")
    port: int = Field(3000, ge=0, le=65535, description="Port the gateway listens on; 0 = any.")
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _Lower] = Field(
        "info", description="Least severe lines that are logged."
    )
    log_format: Annotated[Literal["auto", "console", "json"], _Lower] = Field(
        "auto", description="console on a terminal and json elsewhere when auto."
    )

    engine: Annotated[Literal["comfyui", "embedded"] | None, _Lower] = Field(
        None, description="comfyui when COMFY_HOME or CMD is set, else embedded."
    )
    cmd: Annotated[str | None, AfterValidator(setting_values.words)] = Field(
        None,
        description="Command that launches ComfyUI; ${SETTING} in it is replaced.",
    )
    comfy_home: Path | None = Field(None, description="Folder of a stock ComfyUI.")
    comfy_python: str | None = Field(
        None,
        description="Python that runs ComfyUI when CMD is not set: else a venv inside "
        "COMFY_HOME, else python3.",
    )
    direct_address: str = Field("127.0.0.1", description="Address of ComfyUI.")
    comfyui_port_host: int = Field(8188, ge=1, le=65535, description="Port of ComfyUI.")
    always_restart_comfyui: bool = Field(
        True, description="Restart ComfyUI on any exit that was not asked for."
    )
    startup_check_interval_s: float = Field(
        1.0, gt=0, description="Longest pause between two looks at a starting ComfyUI, seconds."
    )
    startup_check_max_tries: int = Field(
        0, ge=0, description="Looks before a start is given up; 0 = while the process lives."
    )
    warmup_prompt_file: Path | None = Field(
        None, description="Workflow that must succeed before the first ready."
    )
    warmup_prompt_url: str | None = Field(None, description="The same, fetched from a URL.")
    warmup_workflow: str | None = Field(
        None, description="The same, by the name of a workflow in WORKFLOW_DIR."
    )

    model_dir: Path | None = Field(None, description="Models; COMFY_HOME/models, else ./models.")
    input_dir: Path | None = Field(
        None, description="Inputs; COMFY_HOME/input, else below STATE_DIR."
    )
    output_dir: Path | None = Field(
        None, description="Outputs; COMFY_HOME/output, else below STATE_DIR."
    )
    temp_dir: Path | None = Field(None, description="Previews; COMFY_HOME/temp, else as above.")
    custom_nodes_dir: Path | None = Field(
        None, description="Custom nodes; COMFY_HOME/custom_nodes, else ./custom_nodes."
    )
    workflow_dir: Path = Field(Path("workflows"), description="Named workflows and manifests.")
    cache_dir: Path = Field(Path("cache"), description="Fetched files and their links.")
    state_dir: Path = Field(Path("state"), description="The job store and what must survive.")

    api_keys: Annotated[CommaList, AfterValidator(setting_values.named_keys)] = Field(
        (), description="name:key,name:key; set: always required."
    )
    api_keys_file: Path | None = Field(
        None, description="A line each, name:sha256 of the key; # begins a comment."
    )
    allow_insecure: bool = Field(
        False, description="Start without keys although HOST is not loopback."
    )
    cors_origins: CommaList = Field((), description="Origins a browser may call from; * for all.")
    allow_private_networks: Annotated[CommaList, AfterValidator(setting_values.networks)] = Field(
        (),
        description="CIDRs or hosts that fetches may reach beside the public internet; * for all.",
    )
    http_auth_header_name: str | None = Field(None, description="Header sent with fetches.")
    http_auth_header_value: str | None = Field(None, description="Its value.")
    http_auth_hosts: CommaList = Field((), description="Hosts that get that header; * for all.")

    lru_cache_size_gb: float = Field(
        0, ge=0, description="Most that CACHE_DIR holds, GB (2^30 bytes); 0 = unlimited."
    )
    auth_recheck_s: float = Field(
        300, ge=0, description="How long a source's yes to credentials holds, seconds."
    )
    model_inputs: str | None = Field(
        None, description="Class.input=folder,...: folders of loaders that nothing else knows."
    )
    allowed_file_roots: CommaList = Field(
        (), description="Folders that file:// URLs may read and write below."
    )
    hf_token: str | None = Field(None, description="Token for Hugging Face.")
    hf_endpoint: str | None = Field(None, description="Hugging Face, or a mirror of it.")
    aws_access_key_id: str | None = Field(None, description="Key for s3:// URLs.")
    aws_secret_access_key: str | None = Field(None, description="Its secret.")
    aws_session_token: str | None = Field(None, description="Token of temporary keys.")
    aws_region: str | None = Field(None, description="Region of the buckets.")
    aws_default_region: str | None = Field(None, description="The same, when that is not set.")
    aws_endpoint_url: str | None = Field(
        None, description="Address of another S3: MinIO, R2 and the like."
    )
    azure_storage_connection_string: str | None = Field(
        None, description="Account, key and address of Azure Blob Storage."
    )
    google_application_credentials: Path | None = Field(
        None, description="File with a Google service account, for gs:// URLs."
    )

    manifest: Path | None = Field(
        None, description="What to install and fetch before ComfyUI starts; YAML or JSON."
    )
    manifest_json: str | None = Field(None, description="The same, as JSON.")
    on_manifest_error: Annotated[Literal["stop", "skip"], _Lower] = Field(
        "stop", description="Whether what cannot be installed stops the start."
    )

    webhook_secret: str | None = Field(None, description="Key that webhooks are signed with.")
    webhook_max_attempts: int = Field(
        10, ge=1, description="Calls of a webhook in all before it is a dead letter."
    )
    prompt_webhook_retries: int | None = Field(
        None, ge=1, description="The same under its older name; wins where it is set."
    )
    webhook_retry_delays_s: Annotated[CommaList, AfterValidator(setting_values.delays)] = Field(
        ("5", "30", "120", "600", "1800", "3600", "10800", "21600", "43200"),
        description="Pauses between the calls, seconds; the last one repeats.",
    )
    dead_letter_ttl_s: float = Field(
        604800, ge=0, description="Life of a dead letter and its job's files, seconds."
    )
    system_webhook_url: Annotated[str | None, AfterValidator(setting_values.web_address)] = Field(
        None, description="Who hears of system events."
    )
    system_webhook_events: Annotated[CommaList, AfterValidator(setting_values.events)] = Field(
        (), description="Their names, or all."
    )

    strict_requests: bool = Field(False, description="Refuse unknown top-level fields with 422.")
    prepend_filenames: bool = Field(
        True, description="{id}_{prefix} as filename_prefix; false: just {id}."
    )
    max_body_size_mb: float = Field(100, gt=0, description="Largest request body, MB.")
    max_input_mb: float = Field(200, gt=0, description="Largest input, decoded or fetched, MB.")
    max_pixels: int = Field(178956970, gt=0, description="Most pixels of an input picture.")
    max_json_depth: int = Field(64, ge=4, le=200, description="Deepest nesting of a request.")
    max_queue_depth: int = Field(0, ge=0, description="Most queued jobs; 0 = unlimited.")
    max_queued_per_key: int = Field(
        0, ge=0, description="Most queued jobs of an API key; 0 = unlimited."
    )
    max_running_per_key: int = Field(
        0, ge=0, description="Most running jobs of an API key; 0 = unlimited."
    )
    fair_share: bool = Field(False, description="API keys take turns.")
    cancel_on_disconnect: bool = Field(
        True, description="Cancel an anonymous request whose client is gone."
    )

    comfy_queue_depth: int = Field(2, ge=1, le=64, description="Jobs kept inside ComfyUI.")
    prepare_concurrency: int = Field(4, ge=1, description="Jobs prepared at a time.")
    max_attempts: int = Field(2, ge=1, description="Crashes of ComfyUI a job may live through.")
    execution_stall_s: float = Field(
        1800, gt=0, description="No frame and no change for so long is a hang, seconds."
    )
    recycle_after_jobs: int = Field(
        0, ge=0, description="Restart ComfyUI after so many jobs; 0 = never."
    )
    recycle_rss_gb: float = Field(
        0, ge=0, description="Restart ComfyUI when it holds so much memory, GB; 0 = never."
    )
    drain_timeout_s: float = Field(
        120, ge=0, description="Time running jobs get at a stop, seconds."
    )
    job_ttl_s: float = Field(604800, ge=0, description="Life of a finished job's record, seconds.")
    output_ttl_s: float = Field(
        3600, ge=0, description="Life of a finished job's files, seconds; 0 = gone at once."
    )
    generation_ttl_s: float = Field(
        2592000, ge=0, description="Life of a row of /generations, seconds; 0 = none is kept."
    )
    hash_models: bool = Field(
        True, description="Read each model file once for the checksum that sidecars tell."
    )
    input_ttl_s: float = Field(
        600, ge=0, description="Life of a fetched input after its last use, seconds."
    )

    @field_validator("webhook_secret")
    @classmethod
    def _secret(cls, value: str | None) -> str | None:
        setting_values.webhook_key(value)
        return value

    @field_validator("model_inputs")
    @classmethod
    def _inputs(cls, value: str | None) -> str | None:
        setting_values.model_inputs(value)
        return value

    @cached_property
    def webhook_key(self) -> bytes | None:
        """What WEBHOOK_SECRET holds; None: webhooks go unsigned."""
        return setting_values.webhook_key(self.webhook_secret)

    @cached_property
    def webhook_attempts(self) -> int:
        """Calls of a webhook in all before it is a dead letter."""
        return self.prompt_webhook_retries or self.webhook_max_attempts

    @cached_property
    def webhook_delays(self) -> tuple[float, ...]:
        """Pauses between the calls of a webhook, seconds."""
        return tuple(map(float, self.webhook_retry_delays_s))

    @cached_property
    def system_meta(self) -> dict[str, str]:
        """What the SYSTEM_META_<name> variables say, by name."""
        return {
            name.removeprefix(_META): value
            for name, value in os.environ.items()
            if name.startswith(_META) and name != _META
        }

    @cached_property
    def engine_kind(self) -> Literal["comfyui", "embedded"]:
        """Which engine the gateway launches."""
        if self.engine:
            return self.engine
        return "comfyui" if self.comfy_home or self.cmd else "embedded"

    def _folder(self, given: Path | None, name: str, otherwise: Path) -> Path:
        home = self.comfy_home / name if self.comfy_home else otherwise
        return (given or home).expanduser().absolute()

    @cached_property
    def models(self) -> Path:
        """Folder of the models."""
        return self._folder(self.model_dir, "models", Path("models"))

    @cached_property
    def inputs(self) -> Path:
        """Folder ComfyUI reads inputs from."""
        return self._folder(self.input_dir, "input", self.state_dir / "input")

    @cached_property
    def outputs(self) -> Path:
        """Folder ComfyUI writes outputs to."""
        return self._folder(self.output_dir, "output", self.state_dir / "output")

    @cached_property
    def temp(self) -> Path:
        """Folder ComfyUI writes previews to; always one named temp, which ComfyUI empties."""
        folder = self._folder(self.temp_dir, "temp", self.state_dir / "temp")
        return folder if folder.name == "temp" else folder / "temp"

    @cached_property
    def custom_nodes(self) -> Path:
        """Folder of the custom nodes."""
        return self._folder(self.custom_nodes_dir, "custom_nodes", Path("custom_nodes"))

    @cached_property
    def workflows(self) -> Path:
        """Folder of the named workflows."""
        return self.workflow_dir.expanduser().absolute()

    @cached_property
    def cache(self) -> Path:
        """Folder of fetched files."""
        return self.cache_dir.expanduser().absolute()

    @cached_property
    def state(self) -> Path:
        """Folder of what must survive."""
        return self.state_dir.expanduser().absolute()

    @property
    def extra_model_paths(self) -> Path:
        """File that tells ComfyUI of model folders that are not its own."""
        return self.state / "extra_model_paths.yaml"

    @cached_property
    def comfy_url(self) -> str:
        """Address of the child, as the gateway reaches it."""
        host = self.direct_address
        # An operator may make ComfyUI listen everywhere; we still speak to it on loopback.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        return (
            f"http://[{host}]:{self.comfyui_port_host}"
            if ":" in host
            else (f"http://{host}:{self.comfyui_port_host}")
        )

    @cached_property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the gateway."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def engine_python(self) -> str:
        """Return the Python that runs ComfyUI when CMD does not say."""
        if self.comfy_python:
            return self.comfy_python
        for name in ("venv", ".venv"):
            candidate = (self.comfy_home or Path()) / name / "bin" / "python"
            if candidate.exists():
                return str(candidate)
        return "python3"


def load() -> Settings:
    """Read the settings; raises SettingsInvalid that names every wrong one."""
    try:
        settings = Settings()
    except ValidationError as failure:
        raise errors.SettingsInvalid(_told(failure)) from None
    problems = list(_conflicts(settings))
    if problems:
        raise errors.SettingsInvalid("\n".join(problems))
    return settings


def _told(failure: ValidationError) -> str:
    lines = []
    for error in failure.errors(include_url=False, include_context=False):
        name = str(error["loc"][0]).upper()
        given = "" if name in SECRETS else f" (given: {str(error['input'])[:80]!r})"
        lines.append(f"{name}: {error['msg'].removeprefix('Value error, ')}{given}")
    return "\n".join(lines)


def _conflicts(settings: Settings) -> list[str]:
    found = []
    is_open = not settings.api_keys and settings.api_keys_file is None
    if is_open and not settings.is_loopback and not settings.allow_insecure:
        found.append(
            f"HOST={settings.host} can be reached by others and no key is set: set API_KEYS "
            "(name:key) or API_KEYS_FILE, or HOST=127.0.0.1, or ALLOW_INSECURE=true"
        )
    if settings.engine_kind == "comfyui" and not settings.cmd:
        home = settings.comfy_home
        if home is None:
            found.append("ENGINE=comfyui needs COMFY_HOME (or CMD)")
        elif not (home / "main.py").exists():
            found.append(f"COMFY_HOME={home}: there is no main.py in it")
    if settings.http_auth_header_name and not settings.http_auth_hosts:
        # Without a list, any caller could have the secret sent to a host of their own.
        found.append("HTTP_AUTH_HEADER_NAME is set: name the hosts that get it in HTTP_AUTH_HOSTS")
    if bool(settings.http_auth_header_name) != bool(settings.http_auth_header_value):
        found.append("HTTP_AUTH_HEADER_NAME and HTTP_AUTH_HEADER_VALUE go together")
    for name in ("warmup_prompt_file", "api_keys_file", "manifest"):
        path = getattr(settings, name)
        if path is not None and not path.is_file():
            found.append(f"{name.upper()}={path}: there is no such file")
    return found
