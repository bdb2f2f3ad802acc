"""A support desk."""
