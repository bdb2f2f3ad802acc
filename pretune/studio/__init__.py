"""A page on loopback from which data, recipes, runs and models of one folder are looked at and started."""
