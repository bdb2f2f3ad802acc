"""How good a model is, beside what would have been just as good for less. Reports, baselines, pages."""
