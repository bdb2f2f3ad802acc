"""Libraries that show curves, as listeners of metrics.jsonl: they follow the file, the training does not know them."""
