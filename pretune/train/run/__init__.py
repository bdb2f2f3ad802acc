"""Stage pretrain, and what a run chooses by itself."""
