"""A live view on the whole terminal, with the lines that would have stood above it kept for afterwards."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO, cast

from rich.console import Console, RenderableType
from rich.control import Control
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.text import Text

_LEAVE = b"\x1b[?1049l\x1b[?25h"


class FullScreen:
    """Draws `render()` twice a second on the terminal's alternate screen.

    There, every frame begins at the top and nothing goes into the scrollback: whatever a resized terminal does to the
    lines that it has, the next frame leaves one copy of the view. Text that anything prints meanwhile is kept in
    `lines`, as a frame would overwrite it.
    """

    def __init__(self, console: Console, render: Callable[[], RenderableType]) -> None:
        self.console = console
        self.lines: list[Text] = []
        self._render = render
        self._ended = False
        self._live = Live(
            get_renderable=lambda: Text() if self._ended else self._render(),
            console=console,
            refresh_per_second=2,
            screen=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._streams: tuple[TextIO, TextIO] | None = None

    def start(self) -> None:
        """Take the terminal, until `stop` or the end of the process."""
        self._streams = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = self._kept(sys.stdout), self._kept(sys.stderr)
        self._live.start(refresh=True)
        atexit.register(self.stop)

    def _kept(self, stream: TextIO) -> TextIO:
        return cast("TextIO", FileProxy(cast("Console", self), stream))

    def refresh(self) -> None:
        """Draw now."""
        self._live.refresh()

    def print(self, text: Any) -> None:
        """Keep a line; also what is printed to the standard streams, which makes this the console of their proxies."""
        self.lines += (text if isinstance(text, Text) else Text(str(text))).split("\n")

    def __enter__(self) -> FullScreen:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def stop(self, print_lines: bool = True) -> None:
        """Give the terminal back, then print the lines that were kept."""
        atexit.unregister(self.stop)
        if not self._ended:
            self._ended = True
            self._live.refresh()  # an empty frame
            self.console.control(Control.clear())  # tmux, resized meanwhile, keeps parts of frames in its history
        self._live.stop()
        if self._streams is not None:
            for proxy in (sys.stdout, sys.stderr):
                if isinstance(proxy, FileProxy):
                    proxy.flush()  # half a line
            sys.stdout, sys.stderr = self._streams
            self._streams = None
        for line in self.lines if print_lines else ():
            self.console.print(line, soft_wrap=True)
        self.lines.clear()

    def abandon(self) -> None:
        """Give the terminal back without waiting for a lock; for a signal handler that ends the process."""
        with contextlib.suppress(OSError, ValueError):
            os.write(self.console.file.fileno(), _LEAVE)
