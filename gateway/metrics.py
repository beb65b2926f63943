"""All Prometheus collectors, and the bounds of their labels."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 1800)
_DISK_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)

#: More node classes than this are counted as "other": custom nodes come by the thousand.
NODE_CLASSES = 200

registry = CollectorRegistry()
ProcessCollector(registry=registry)

queue_depth = Gauge("comfy_gateway_queue_depth", "Jobs waiting for their turn.", registry=registry)
jobs_running = Gauge(
    "comfy_gateway_jobs_running", "Jobs claimed and not yet over.", registry=registry
)
# Not comfy_gateway_jobs: beside comfy_gateway_jobs_total that is one family twice.
jobs_by_state = Gauge(
    "comfy_gateway_jobs_by_state", "Jobs that are stored, by state.", ["state"], registry=registry
)
oldest_queued_seconds = Gauge(
    "comfy_gateway_oldest_queued_seconds",
    "How long the oldest queued job has waited; 0 when none waits.",
    registry=registry,
)
ready = Gauge("comfy_gateway_ready", "1 when ComfyUI is ready.", registry=registry)
queue_seconds = Histogram(
    "comfy_gateway_queue_seconds",
    "From acceptance to the claim.",
    buckets=_SECONDS,
    registry=registry,
)
prepare_seconds = Histogram(
    "comfy_gateway_prepare_seconds",
    "Fetching a job's inputs.",
    buckets=_SECONDS,
    registry=registry,
)
execute_seconds = Histogram(
    "comfy_gateway_execute_seconds",
    "From sending a job to ComfyUI to its last frame.",
    buckets=_SECONDS,
    registry=registry,
)
deliver_seconds = Histogram(
    "comfy_gateway_deliver_seconds",
    "Collecting and converting a job's outputs.",
    buckets=_SECONDS,
    registry=registry,
)
jobs_total = Counter(
    "comfy_gateway_jobs_total",
    "Jobs that are over, by outcome: succeeded, cancelled or the error's code.",
    ["code"],
    registry=registry,
)
retries_total = Counter(
    "comfy_gateway_retries_total",
    "Runs of jobs that were tried again, by reason.",
    ["reason"],
    registry=registry,
)
poison_jobs_total = Counter(
    "comfy_gateway_poison_jobs_total",
    "Jobs that killed ComfyUI at each attempt, and failed for it.",
    registry=registry,
)
node_seconds = Histogram(
    "comfy_gateway_node_seconds",
    "Time in a node, by class; the first 200 classes, then other.",
    ["class_type"],
    buckets=_SECONDS,
    registry=registry,
)
child_restarts_total = Counter(
    "comfy_gateway_child_restarts_total",
    "Restarts of ComfyUI, by reason.",
    ["reason"],
    registry=registry,
)
requests_total = Counter(
    "comfy_gateway_requests_total",
    "HTTP requests, by route and status.",
    ["route", "method", "status"],
    registry=registry,
)
bytes_in_total = Counter(
    "comfy_gateway_bytes_in_total",
    "Bytes received: request bodies and fetched inputs.",
    ["source"],
    registry=registry,
)
bytes_out_total = Counter(
    "comfy_gateway_bytes_out_total", "Bytes of outputs sent to callers.", registry=registry
)
cache_bytes = Gauge("comfy_gateway_cache_bytes", "Bytes in CACHE_DIR.", registry=registry)
cache_files = Gauge("comfy_gateway_cache_files", "Files in CACHE_DIR.", registry=registry)
cache_hits_total = Counter(
    "comfy_gateway_cache_hits_total", "Models that were in the cache.", registry=registry
)
cache_misses_total = Counter(
    "comfy_gateway_cache_misses_total", "Models that had to be fetched.", registry=registry
)
cache_evictions_total = Counter(
    "comfy_gateway_cache_evictions_total", "Files evicted for others.", registry=registry
)
downloads_in_flight = Gauge(
    "comfy_gateway_downloads_in_flight", "Models that are being fetched.", registry=registry
)
download_bytes_total = Counter(
    "comfy_gateway_download_bytes_total",
    "Bytes of models that arrived.",
    ["provider"],
    registry=registry,
)
download_seconds = Histogram(
    "comfy_gateway_download_seconds",
    "Time that a model took to arrive.",
    ["provider"],
    buckets=_SECONDS,
    registry=registry,
)
download_failures_total = Counter(
    "comfy_gateway_download_failures_total",
    "Models that did not arrive, by the error's code.",
    ["code"],
    registry=registry,
)
upload_bytes_total = Counter(
    "comfy_gateway_upload_bytes_total",
    "Bytes of outputs uploaded.",
    ["provider"],
    registry=registry,
)
system_events_total = Counter(
    "comfy_gateway_system_events_total",
    "System events, by outcome: delivered, failed or dropped.",
    ["outcome"],
    registry=registry,
)
deliveries_total = Counter(
    "comfy_gateway_deliveries_total",
    "Attempts to deliver a webhook, by outcome: delivered, failed (tried again later) or dead.",
    ["outcome"],
    registry=registry,
)
deliveries_pending = Gauge(
    "comfy_gateway_deliveries_pending", "Webhooks that are owed.", registry=registry
)
outbox_age_seconds = Gauge(
    "comfy_gateway_outbox_age_seconds",
    "How long the oldest webhook has been owed; 0 when none is.",
    registry=registry,
)
delivery_seconds = Histogram(
    "comfy_gateway_delivery_seconds",
    "One attempt to deliver a webhook.",
    buckets=_SECONDS,
    registry=registry,
)
sse_readers = Gauge("comfy_gateway_sse_readers", "Open streams of job events.", registry=registry)
store_write_seconds = Histogram(
    "comfy_gateway_store_write_seconds",
    "One write to the job store, from its first statement until it is on disk.",
    buckets=_DISK_SECONDS,
    registry=registry,
)
workflows = Gauge(
    "comfy_gateway_workflows", "Named workflows that can be called.", registry=registry
)
workflow_files_broken = Gauge(
    "comfy_gateway_workflow_files_broken",
    "Files of WORKFLOW_DIR that have mistakes.",
    registry=registry,
)
errors_total = Counter(
    "comfy_gateway_errors_total",
    "Failures that are the gateway's own; the log has each.",
    ["where"],
    registry=registry,
)

# A series that begins at 1 has no increase: the first dead letter would alert nobody.
for _outcome in ("delivered", "failed", "dead"):
    deliveries_total.labels(_outcome)
for _where in ("request", "worker", "job", "webhooks", "background", "janitor", "loop", "frame"):
    errors_total.labels(_where)

_seen_classes: set[str] = set()


def observe_node(class_type: str, seconds: float) -> None:
    """Count the time one node took, under a bounded label."""
    if class_type not in _seen_classes and len(_seen_classes) >= NODE_CLASSES:
        class_type = "other"
    else:
        _seen_classes.add(class_type)
    node_seconds.labels(class_type).observe(seconds)


def render() -> bytes:
    """Return the exposition text."""
    return generate_latest(registry)
