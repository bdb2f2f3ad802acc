"""A watch over a stream of texts: topic and sentiment of each, counts per window, and an alert when one of them surges.

    source ──▶ models ──▶ store (SQLite) ──▶ usual and detectors ──▶ alerts ──▶ log, e-mail, webhooks, Prometheus
    sources.py reading.py    store.py           usual.py, detect/     alerts.py      channels/, outbox.py
"""
