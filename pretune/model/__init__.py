"""Models: shapes, folders, adaptation methods, generation."""
