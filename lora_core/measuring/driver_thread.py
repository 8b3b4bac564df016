"""Calls to a driver that may never return, made in a thread of their own with a time limit."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class DriverThread:
    """A thread that calls a driver. It ends with the process, even if a call never returns."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._late: Future[Any] | None = None  # a call that has not returned in time
        threading.Thread(target=self._loop, daemon=True).start()

    def call(self, function: Callable[[], Answer], seconds: float) -> Answer:
        """Return what the function returns, or raise what it raises.

        Raise TimeoutError after `seconds`, and from then on at once until the late call has returned.
        """
        if self._late is not None and not self._late.done():
            raise TimeoutError
        future: Future[Answer] = Future()
        self._calls.put((future, function))
        try:
            return future.result(seconds)
        except TimeoutError:
            self._late = future
            raise

    def close(self) -> None:
        """End the thread, if its last call returns."""
        self._calls.put(None)

    def _loop(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function = call
            try:
                future.set_result(function())
            except BaseException as error:  # it is raised in the thread that waits
                future.set_exception(error)
