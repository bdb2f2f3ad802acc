"""How good a model is, next to what would have been just as good for less. Reports, baselines, pages."""
