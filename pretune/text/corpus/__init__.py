"""Stage corpus: from raw files to documents in three splits."""
