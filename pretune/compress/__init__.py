"""A smaller model, with its quality before and after."""
