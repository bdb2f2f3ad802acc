"""Settings, artifacts, recipes, errors and the log: what every room stands on. No torch here."""
