"""A watch over a stream of texts: topic and sentiment of each, counts per window, and an alert when one of them surges.

source ──▶ models ──▶ store (SQLite) ──▶ usual and detectors ──▶ alerts ──▶ log, e-mail, webhooks, Prometheus
sources/   reading.py   store.py         series.py, detect/                 channels/, delivery.py
"""
