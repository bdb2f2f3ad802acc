"""One model over several processes: who holds what, and how a step stays that of one process."""
