"""Raw files to records: formats, encodings, archives, hubs."""
