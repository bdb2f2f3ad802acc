"""Augmentation: rows of train are said once more in other words, with their labels."""
