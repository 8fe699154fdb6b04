"""Progress on stderr: bars on a terminal, nothing elsewhere, timings always; and to an observer, for daemons."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

Step = Callable[[], None]
Observer = Callable[[str, float], None]
"""Called with the stage and the fraction of it that is done, 0 to 1 (0 throughout if that is unknown)."""


class Progress:
    """Names the stages of a long command and remembers how long each took.

    Attributes:
        seconds: wall time by stage, in order.
    """

    def __init__(self, console: Console | None, observer: Observer | None = None) -> None:
        self._console = console if console is not None and console.is_terminal else None
        self._observer = observer
        self.seconds: dict[str, float] = {}

    @staticmethod
    def silent() -> Progress:
        """No output."""
        return Progress(None)

    @staticmethod
    def terminal() -> Progress:
        """Bars on stderr if it is a terminal."""
        return Progress(Console(file=sys.stderr))

    @staticmethod
    def observed(observer: Observer) -> Progress:
        """No output; `observer` is told of every stage and step."""
        return Progress(None, observer)

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Step]:
        """A stage of `total` steps (None: unknown); yields the function to call after each step."""
        start = time.perf_counter()
        try:
            if self._observer is not None:
                yield self._reporting(name, total, self._observer)
            elif self._console is None:
                yield lambda: None
            else:
                columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
                with Bars(*columns, console=self._console, transient=True) as bars:
                    task = bars.add_task(name, total=total)
                    yield lambda: bars.advance(task)
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    @staticmethod
    def _reporting(name: str, total: int | None, observer: Observer) -> Step:
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            observer(name, min(done / total, 1.0) if total else 0.0)

        observer(name, 0.0)
        return step
