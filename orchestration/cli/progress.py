"""A progress bar for one terminal line, drawn only once the work has taken a second, so that quick commands stay quiet.

Drawing belongs here; what is being worked on does not. click's own bar was tried: it owns the line while it runs, and lines
printed above it (one per finished artifact, questions) leave torn bars behind.
"""

from __future__ import annotations

import shutil
import threading
import time
from typing import TextIO

from orchestration.cli.words import size as size_text

APPEARS_AFTER = 1.0
_REDRAW_EVERY = 0.1
_WIDTH = 24


class Bar:
    """Progress through `total` things (None: unknown), and through the bytes they have where somebody says how many.

    Call from one thread, `moved` from any.
    """

    def __init__(self, label: str, total: int | None, stream: TextIO, *, shown: bool, color: bool) -> None:
        self.label = label
        self.total = total
        self.done = 0
        self._stream = stream
        self._shown = shown
        self._color = color
        self._text = ""
        self._fraction = 0.0
        self._started = time.monotonic()
        self._drawn_at = 0.0
        self._visible = False
        self._size = 0
        self._moved = 0
        self._moving_since = 0.0
        self._lock = threading.RLock()

    def expect(self, objects: int, size: int) -> None:
        """So many more things, of so many bytes together, are to come: from here on rate and time left are shown."""
        self.total = (self.total or 0) + objects
        self._size += size
        self._moving_since = self._moving_since or time.monotonic()

    def moved(self, size: int) -> None:
        """So many bytes more have moved."""
        with self._lock:
            self._moved += size
            self.show(self._text)

    def advance(self, text: str = "", by: int = 1) -> None:
        """`by` more things are done."""
        self.done += by
        self.show(text, 0.0)

    def show(self, text: str, fraction: float | None = None, *, at_once: bool = False) -> None:
        """Say what is being worked on, and how far (0 to 1) that one thing is.

        `at_once` draws without waiting, before a step that is known to be long and cannot report.
        """
        with self._lock:
            self._show(text, fraction, at_once)

    def _show(self, text: str, fraction: float | None, at_once: bool) -> None:
        self._text = text
        self._fraction = min(1.0, max(0.0, fraction or 0.0))
        now = time.monotonic()
        due = now - self._started >= APPEARS_AFTER and now - self._drawn_at >= _REDRAW_EVERY
        if self._shown and (due or at_once):
            self._drawn_at = now
            self._draw()

    def clear(self) -> None:
        """Take the bar off the line so that something else can be printed there."""
        if self._visible:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
            self._visible = False

    def close(self) -> None:
        """Clear the line for good."""
        self.clear()
        self._shown = False

    def _draw(self) -> None:
        if self.total:
            # What is sent again counts again, so that more than all may have moved.
            share = min(1.0, self._moved / self._size if self._size else (self.done + self._fraction) / self.total)
            full = round(share * _WIDTH)
            body = "█" * full + "░" * (_WIDTH - full)
            if (getattr(self._stream, "encoding", None) or "").lower().replace("-", "") != "utf8":
                body = "#" * full + "." * (_WIDTH - full)
            head = f"{self.label} {body} {self.done:,}/{self.total:,} {self._rate()}"
        else:
            head = f"{self.label} {self.done:,} " if self.done else f"{self.label} "
        room = shutil.get_terminal_size().columns - len(head) - 1
        text = "".join(character if character.isprintable() else "?" for character in self._text)
        line = head + (text if len(text) <= room else "…" + text[-max(room - 1, 0) :] if room > 1 else "")
        self._stream.write("\r\x1b[2K" + line)
        self._stream.flush()
        self._visible = True

    def _rate(self) -> str:
        """Bytes per second and the time that is left at that rate; nothing before it can be told."""
        took = time.monotonic() - self._moving_since
        if not self._size or not self._moved or took <= 0:
            return ""
        rate = self._moved / took
        left = max(0.0, self._size - self._moved) / rate
        return f"{size_text(round(rate))}/s, {_left(left)} left "


def _left(seconds: float) -> str:
    """`40 s`, `3 min`, `2 h`."""
    for step, unit in ((5400.0, 3600.0), (90.0, 60.0)):
        if seconds >= step:
            return f"{seconds / unit:.0f} {'h' if unit == 3600.0 else 'min'}"
    return f"{seconds:.0f} s"
