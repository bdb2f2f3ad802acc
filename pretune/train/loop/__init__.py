"""The loop: steps, rows by step, ranks, checkpoints. Nothing here knows a stage."""
