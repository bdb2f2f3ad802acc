"""A command that was started from the studio: `pretune WORDS`, and afterwards its exit code in a file.

It runs in a process of its own that outlives the studio, so somebody else than the studio must keep the code.
"""

from __future__ import annotations

import sys
from pathlib import Path
from runpy import run_module


def main(exit_file: Path, words: list[str]) -> None:
    """Run the words as a command; without the file afterwards, the process was killed."""
    sys.argv = ["pretune", *words]
    code: object = 1
    try:
        run_module("pretune", run_name="__main__")
        code = 0
    except SystemExit as left:
        code = left.code or 0
        raise
    finally:
        exit_file.write_text(str(code), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
