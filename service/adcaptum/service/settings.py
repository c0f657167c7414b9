"""Settings of a server, from the command line, the environment or the defaults."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The settings of a server.

    Each field is also read from the environment: `port` from `ADCAPTUM_PORT`.
    """

    model_config = SettingsConfigDict(env_prefix="ADCAPTUM_", frozen=True, extra="forbid")

    repository: Path
    """The folder of models."""

    host: str = "127.0.0.1"
    """The address to listen on, for gRPC and HTTP."""

    port: int = Field(default=8500, ge=0, le=65535)
    """The gRPC port; 0 picks a free one."""

    http_port: int = Field(default=8501, ge=0, le=65535)
    """The port of HTTP: JSON, metrics and probes; 0 picks a free one."""

    cors_origins: str = ""
    """The sites whose pages may use the HTTP port from a browser, as `https://a.example`, separated
    by commas; `*` for all. None where empty."""

    insecure: bool = False
    """True: listen on an address that other machines reach though there are no credentials:
    whoever reaches the port may do everything. The server starts there with this or with
    credentials only."""

    credentials: Path | None = None
    """The file of the callers: API keys, tokens, certificates, with roles and quotas. It is read
    again when it changes."""

    api_keys: SecretStr | None = None
    """Lines of API keys as the table `[keys]` of that file has them, beside those of the file."""

    tls_certificate: Path | None = None
    """The PEM file of the server's certificate and of those that sign it: both ports are encrypted.
    Read again when it changes, as its key is."""

    tls_key: Path | None = None
    """The PEM file of the certificate's private key, without a password."""

    tls_client_ca: Path | None = None
    """The PEM file of those who sign callers' certificates: callers have to show one (mTLS), but
    for `/healthz` and `/readyz`."""

    audit_log: Path | None = None
    """The file to which a line of JSON about each administrative call is appended; unset: the
    server's log has them as the event `audit`."""

    open_metrics: bool = False
    """True: `/metrics` is shown to everybody, not to callers with the role metrics only."""

    reflection: bool = True
    """True: callers with a role may ask for the services and their messages (gRPC reflection)."""

    device: str = "cpu"
    """The device that models run on, as PyTorch names it. Several, separated by commas, or `cuda`
    on a machine with several GPUs: one worker process for each."""

    workers: int | None = Field(default=None, ge=1, le=64)
    """The number of worker processes under a front; `[placement]` in model.toml says which of them
    have a model. Unset: one for each device, and none, everything in one process, if there is one
    device."""

    fronts: int = Field(default=1, ge=1, le=64)
    """The number of front processes before the workers; all listen on the one port."""

    target_batch_seconds: float = Field(default=0.025, gt=0, le=10)
    """The longest time of a device batch, in seconds: it bounds how long a prediction waits for its
    turn."""

    max_message_bytes: int = Field(default=64 << 20, ge=1 << 10, le=(1 << 31) - 1)
    """The largest message that is received or sent. While messages come they are bounded by nothing
    else: as many calls as `max_requests` allows may send one each. Lower it for strangers."""

    max_requests: int = Field(default=1024, ge=1)
    """The most requests in flight; more are refused."""

    max_queue_rows: int = Field(default=10_000_000, ge=1)
    """The most rows in flight; requests that would exceed it are refused."""

    max_queue_bytes: int = Field(default=1 << 30, ge=1)
    """The most memory that requests in flight hold; requests that would exceed it are refused."""

    max_caller_requests: int | None = Field(default=None, ge=1)
    """The most requests of one caller in flight; no limit of its own where unset."""

    max_caller_rows: int | None = Field(default=None, ge=1)
    """The most rows of one caller in flight; no limit of its own where unset."""

    max_caller_bytes: int | None = Field(default=None, ge=1)
    """The most memory that one caller's requests hold; no limit of its own where unset."""

    cache_bytes: int = Field(default=256 << 20, ge=0)
    """The most memory of the response cache; 0 keeps nothing."""

    cache_entries: int = Field(default=10_000, ge=0)
    """The most answers in the response cache; the least recently used go first."""

    reference_bytes: int = Field(default=64 << 20, ge=0)
    """The most memory of each model's traces of baselines (DeepLIFT); 0 keeps nothing."""

    max_image_pixels: int = Field(default=50_000_000, ge=1)
    """The largest encoded image that is decoded, in pixels."""

    max_text_bytes: int = Field(default=1 << 20, ge=1, le=1 << 26)
    """The most bytes of all texts of a request; tokenising the usual limit takes a second."""

    drain_seconds: float = Field(default=30.0, ge=0)
    """The time for requests in flight to finish after SIGTERM. The process ends at most 5 s later,
    whatever models do."""

    stuck_seconds: float = Field(default=60.0, gt=0)
    """The time in one device batch after which a model counts as stuck: its requests are refused,
    and another thread goes on with the other models."""

    unresponsive_seconds: float = Field(default=15.0, gt=0)
    """The time without an answer after which a worker process is ended and replaced."""

    worker_memory_bytes: int | None = Field(default=None, ge=1 << 20)
    """The most resident memory of a worker process; one with more is replaced after its requests,
    one with 1.25 times as much at once. No limit where unset."""

    worker_wait_seconds: float = Field(default=30.0, ge=0)
    """The longest wait of a request for a worker while none serves."""

    quarantine_seconds: float = Field(default=600.0, gt=0)
    """The time for which a request that ended two worker processes is refused, and in which
    `quarantine_deaths` count."""

    quarantine_deaths: int = Field(default=4, ge=1)
    """The number of worker processes that a model may end in `quarantine_seconds`; then it is taken
    out of service, until the server is told to reload (SIGHUP) or restarted."""

    admin_calls: bool = False
    """True: whoever reaches the port may replace the workers (RestartWorkers), load and unload
    models and move aliases. SIGHUP replaces the workers anyway."""

    watch: bool = False
    """True: load models whose folders change, and unload those whose folders go. For a repository
    on this machine: network file systems tell of no changes."""

    settle_seconds: float = Field(default=2.0, gt=0)
    """The time without a change in a model's folder after which `watch` takes it for whole."""

    load_timeout_seconds: float = Field(default=300.0, gt=0)
    """The longest stage of a model's loading; a slower model is FAILED,
    though its thread goes on."""

    ready_after_seconds: float = Field(default=120.0, ge=0)
    """The time after which the server is ready while models still load, if one serves."""

    allowed_packages: str = ""
    """Packages from which models' factories may come beside `adcaptum.zoo` and the model's own
    `code/` folder, separated by commas."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe line that is logged. At `debug` every request is."""

    device_threads: int | None = Field(default=None, ge=1, le=64)
    """The number of threads that run batches; measured where unset."""

    intra_op_threads: int | None = Field(default=None, ge=1, le=256)
    """The threads that PyTorch uses inside one operation; measured where unset."""

    uvloop: bool = True
    """True: run on uvloop instead of asyncio's event loop."""

    @property
    def has_credentials(self) -> bool:
        """True if callers have to show who they are."""
        return self.credentials is not None or self.api_keys is not None

    @property
    def factory_packages(self) -> tuple[str, ...]:
        """The allowed packages as a tuple."""
        return tuple(name.strip() for name in self.allowed_packages.split(",") if name.strip())

    @property
    def origins(self) -> tuple[str, ...]:
        """The sites that may use the HTTP port from a browser."""
        return tuple(name.strip() for name in self.cors_origins.split(",") if name.strip())

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices by name."""
        return tuple(name.strip() for name in self.device.split(",") if name.strip())
