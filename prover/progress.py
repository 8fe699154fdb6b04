"""Progress on stderr: bars on a terminal, nothing elsewhere, timings always."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

Step = Callable[[], None]


class Progress:
    """Names the stages of a long command and remembers how long each took.

    Attributes:
        seconds: wall time by stage, in order.
    """

    def __init__(self, console: Console | None) -> None:
        self._console = console if console is not None and console.is_terminal else None
        self.seconds: dict[str, float] = {}

    @staticmethod
    def silent() -> Progress:
        """No output."""
        return Progress(None)

    @staticmethod
    def terminal() -> Progress:
        """Bars on stderr if it is a terminal."""
        return Progress(Console(file=sys.stderr))

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Step]:
        """A stage of `total` steps (None: unknown); yields the function to call after each step."""
        start = time.perf_counter()
        try:
            if self._console is None:
                yield lambda: None
            else:
                columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
                with Bars(*columns, console=self._console, transient=True) as bars:
                    task = bars.add_task(name, total=total)
                    yield lambda: bars.advance(task)
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
