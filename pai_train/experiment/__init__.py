"""The run folder: run.json, metrics.jsonl, log, the progress line and the summary."""
