"""Work on many pieces in threads, of which none keeps a process that was told to end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor


def in_threads(work: Callable[[int], None], starts: Iterable[int], threads: int) -> None:
    """Call `work` on each of `starts`; the first error cancels what has not begun and waits for what has.

    What is no `Exception` (Ctrl-C, SIGTERM) is not kept waiting: a thread may hang in a read that never answers.
    """
    pool = ThreadPoolExecutor(max_workers=threads)
    wait = True
    try:
        for task in [pool.submit(work, start) for start in starts]:
            task.result()
    except BaseException as error:
        wait = isinstance(error, Exception)
        raise
    finally:
        pool.shutdown(wait=wait, cancel_futures=True)
