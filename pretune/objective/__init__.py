"""What to predict: causal, masked, labels. Sums and counts, never means."""
