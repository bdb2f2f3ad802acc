"""Formats that need more than lines: web pages, PDF, office files, web archives, wiki dumps, packed folders.

Each module has readers of the signature `(path, repairs) -> records`; their place in the table of suffixes is
`READERS` in `text/read/readers.py`. A library's own errors end at `edge`: whatever bytes come, a reader gives records
or a `UserError`.
"""
