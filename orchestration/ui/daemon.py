"""The Dagster daemon as a child of `headwater ui`: it ends when its parent does, however that ends.

Run as `python -m orchestration.ui.daemon ARGUMENTS...`, with a pipe from the parent as standard input.
"""

from __future__ import annotations

import os
import signal
import sys
import threading


def _end_with_parent() -> None:
    """Interrupt this process when standard input ends, which it does when the parent is gone, by kill -9 too."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGINT)


def main() -> None:
    """Run `dagster-daemon` with this process's arguments."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from dagster._daemon.cli import create_dagster_daemon_cli

    create_dagster_daemon_cli()(prog_name="dagster-daemon")


if __name__ == "__main__":
    main()
