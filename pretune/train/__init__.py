"""Training: the loop, its state, optimizers, checkpoints; stage pretrain."""
