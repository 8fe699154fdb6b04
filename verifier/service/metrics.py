"""What the service counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

CALLS = Counter("weightproof_calls_total", "Calls answered, by method and status code.", ("method", "code"))
UPLOADED = Counter("weightproof_uploaded_bytes_total", "Bytes received in uploads.")
UPLOADS = Gauge("weightproof_uploads", "Uploads in progress.")
DECISIONS = Counter("weightproof_decisions_total", "Audits decided, by verdict.", ("verdict",))
DECISION_SECONDS = Histogram(
    "weightproof_decision_seconds",
    "Wall time of the check of one audit.",
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 120, 300),
)
