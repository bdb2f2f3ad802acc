"""torchrun, as the files of `pretune launch` start it: SIGUSR1, which would end it, asks its ranks for a checkpoint."""

from __future__ import annotations

import signal

from pretune.base.asked import ask_to_save


def main() -> None:
    """Run torchrun with the words of the command line."""
    signal.signal(signal.SIGUSR1, _pass_on)  # before torch, which takes seconds to load
    from torch.distributed.run import main as torchrun

    torchrun()


def _pass_on(number: int, frame: object) -> None:
    import psutil

    for rank in psutil.Process().children():
        ask_to_save(rank.pid)


if __name__ == "__main__":
    main()
