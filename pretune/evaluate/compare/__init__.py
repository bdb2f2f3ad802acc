"""Reports next to each other: which model is better, how sure that is, on which examples and in which slices."""
