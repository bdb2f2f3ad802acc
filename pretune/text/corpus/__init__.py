"""Stage corpus: from raw files to documents on three sides."""
