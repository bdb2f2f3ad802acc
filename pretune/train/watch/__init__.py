"""Looking at a run: validation, curves, listeners, diagnosis."""
