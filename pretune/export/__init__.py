"""Bundles that other programs run, each proven to give its model's answers."""
