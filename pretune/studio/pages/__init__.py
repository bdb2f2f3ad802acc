"""The studio's pages, one file for each: what it asks of the folder, what it starts, and its routes."""
