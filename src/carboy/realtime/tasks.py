"""Background work of an app: tasks that a view leaves behind, and loops that run as long as the app does.

Tasks live in this process and end with it: what must survive a crash belongs into a queue outside. `async def` runs on
the app's loop, `def` in a thread of a pool of its own, so that views do not wait for it.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import contextvars
import inspect
import time
import weakref
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, Literal, TypeVar, cast

from ..core.ctx import Context, request_var
from ..core.errors import SetupError
from ..pipeline import portal
from ..pipeline.step import is_async, origin
from ..pipeline.threads import ThreadPool, home_loop
from .work import Work

T = TypeVar("T")
AtShutdown = Literal["cancel", "wait"]

#: Threads for `def` tasks, unless `TASK_THREADS` in the config says otherwise.
THREADS = 16
#: Seconds that a task which was cancelled has for its `finally`.
CLEANUP = 0.5
#: The worker is cut off at its limit: be through so much earlier, seconds.
MARGIN = 1.0
#: Seconds between a failure of a background loop and its next start: at first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


def time_left(app: Any) -> float:
    """Seconds until what works beside the requests must be over, once the app is stopping."""
    # The server's event knows its limit; another server tells none, and has its own.
    left: Callable[[], float | None] | None = getattr(app.lifespan_state.leaving, "time_left", None)
    seconds = left() if left is not None else None
    if seconds is None:
        seconds = float(app.config.get("SERVER_STOP_TIMEOUT", 30.0))
    return max(0.0, seconds - min(MARGIN, seconds / 4))


class Task(Generic[T]):
    """A piece of background work: await it, or ask for its `result()` in a thread.

    Attributes:
        name: for people and the log.
        place: where its function stands, `file:line`.
        at_shutdown: "cancel" or "wait".
    """

    def __init__(self, name: str, place: str, at_shutdown: AtShutdown, timeout: float | None) -> None:
        self.name = name
        self.place = place
        self.at_shutdown = at_shutdown
        self.timeout = timeout
        self._future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: asyncio.Task[None] | None = None
        self._is_cancelled = False

    def done(self) -> bool:
        """Whether it is over, in whatever way."""
        return self._future.done()

    def cancelled(self) -> bool:
        return self._future.cancelled()

    def cancel(self) -> bool:
        """Cancel it, from any thread; False if it is over. A `def` that has begun goes on in its thread, unheard."""
        if self._future.done():
            return False
        self._is_cancelled = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # a loop that is closed runs nothing any more
                self._loop.call_soon_threadsafe(self._cancel)
        return True

    def _cancel(self) -> None:
        if self._running is not None:
            self._running.cancel()

    def result(self, timeout: float | None = None) -> T:
        """Wait in a thread for what it returns.

        Args:
            timeout: seconds.

        Raises:
            TimeoutError: not in time; the task goes on.
            concurrent.futures.CancelledError: it was cancelled.
            RuntimeError: asked on an event loop, which would wait for ever: `await` the task there.
            Exception: what it raised.
        """
        self._refuse_on_loop()
        return self._future.result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait in a thread for its end; return what it raised, or None. Raises as `result` does."""
        self._refuse_on_loop()
        return self._future.exception(timeout)

    def _refuse_on_loop(self) -> None:
        if not self._future.done() and _running_loop() is not None:
            raise RuntimeError(f"the task {self.name!r} is not done, and waiting for it here would stop the event loop; write `await task`")

    def __await__(self) -> Generator[Any, None, T]:
        # Shielded: who waits may be cancelled without the task.
        return asyncio.shield(asyncio.wrap_future(self._future)).__await__()

    def __repr__(self) -> str:
        state = "cancelled" if self.cancelled() else "done" if self.done() else "running"
        return f"<Task {self.name!r} {state}, {self.place}>"


class Background:
    """A loop of the app's own: a coroutine function, started in each worker, started again when it fails.

    Attributes:
        failures: how often it has failed in this process.
        is_over: it has returned, and is not started again.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function = function
        self.name = name
        self.place = origin(function)
        self.takes_app = bool(inspect.signature(function).parameters)
        self.failures = 0
        self.is_over = False


class Tasks:
    """The background work of one app in this process."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.running: set[Task[Any]] = set()
        self.backgrounds: list[Background] = []
        self._loops: list[asyncio.Task[None]] = []
        #: The `leaving` of the run that was stopped: each start of the app has one of its own.
        self._stopped: asyncio.Event | None = None
        self._exit: Callable[[], None] | None = None
        self.pool = ThreadPool(int(app.config.get("TASK_THREADS", THREADS)), "carboy-task")
        app.lifespan_state.parts.insert(0, self)

    # -- tasks ----------------------------------------------------------------------------------------

    def spawn(
        self, function: Callable[..., Any], args: tuple[Any, ...], name: str | None, at_shutdown: AtShutdown, timeout: float | None
    ) -> Task[Any]:
        """Start a task; what `app.spawn` does."""
        if not callable(function):
            if inspect.iscoroutine(function):
                cast("Coroutine[Any, Any, Any]", function).close()
            raise TypeError(f"app.spawn takes a function and its arguments, `app.spawn(f, 1, 2)`, not {type(function).__name__}: {function!r}")
        if at_shutdown not in ("cancel", "wait"):
            raise ValueError(f"at_shutdown is 'cancel' or 'wait', not {at_shutdown!r}")
        task: Task[Any] = Task(name or name_of(function), origin(function), at_shutdown, timeout)
        left_by = request_var.get(None)
        if left_by is not None and left_by.app is not self.app:
            left_by = None
        loop = self._loop(task, left_by)
        work = Work(self.app, left_by)
        context = contextvars.copy_context()
        self.running.add(task)
        task._loop = loop

        def begin() -> None:
            task._running = loop.create_task(self._follow(task, work, function, args), name=f"carboy: {task.name}", context=context)
            task._running.add_done_callback(over)
            if task._is_cancelled:
                task._running.cancel()

        def over(_: asyncio.Task[None]) -> None:
            self.running.discard(task)
            # Cancelled before its first step: nothing of it has run that could have told the handle.
            if not task._future.done():
                task._future.cancel()

        if _running_loop() is loop:
            begin()
        else:
            loop.call_soon_threadsafe(begin)
        return task

    def _loop(self, task: Task[Any], left_by: Context | None) -> asyncio.AbstractEventLoop:
        """Where async work runs: the app's own loop, else the one that this request has come from."""
        state = self.app.lifespan_state
        if self._stopped is state.leaving:
            raise RuntimeError(f"app.spawn({task.name}): the application is stopping, or has stopped, and takes no new background work")
        if state.loop is not None and state.loop.is_running():
            return cast("asyncio.AbstractEventLoop", state.loop)
        if left_by is None:
            raise RuntimeError(
                f"app.spawn({task.name}): the application is not running, so there is no event loop to run it on. Call"
                " app.spawn in a view, a hook or a lifespan function; for a loop that runs as long as the app does, use"
                " @app.background."
            )
        # A server without ASGI's lifespan: who serves this request is where it goes, and the process's end is the stop.
        loop = _running_loop() or home_loop()
        if loop is None or not loop.is_running():
            loop = portal.portal.loop()
        if self._exit is None:
            ours: weakref.ref[Tasks] = weakref.ref(self)
            self._exit = lambda: _stop_at_exit(ours, loop)
            atexit.register(self._exit)
        return loop

    async def _follow(self, task: Task[Any], work: Work, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Run a task from end to end and tell its handle; an error is logged once, here."""
        future = task._future
        clock = asyncio.timeout(task.timeout)
        try:
            async with clock:
                result = await self.do(work, function, args)
        except asyncio.CancelledError:
            future.cancel()
        except Exception as error:
            how = f" took longer than {task.timeout:g} s and was cancelled" if task.timeout is not None and clock.expired() else None
            self._failed("task", task.name, task.place, error, how)
            future.set_exception(error)
        else:
            future.set_result(result)

    async def do(self, work: Work, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Call a function of either colour in the context of its work, the teardown included."""
        work.open()
        error: BaseException | None = None
        try:
            if is_async(function):
                return await function(*args)
            return await self.pool.submit(asyncio.get_running_loop(), function, args)
        except BaseException as raised:
            error = raised
            raise
        finally:
            await work.close(error)

    def _failed(self, kind: str, name: str, place: str, error: BaseException, how: str | None = None) -> None:
        self.app.logger.error("The %s %r (%s)%s", kind, name, place, how or " failed", exc_info=error)

    # -- loops ----------------------------------------------------------------------------------------

    def background(self, function: Callable[..., Any], name: str | None) -> None:
        """Declare a loop; what `app.background` does.

        Raises:
            SetupError: no coroutine function, a name used twice, or the app runs already.
        """
        name = name or name_of(function)
        if not is_async(function) or inspect.isasyncgenfunction(function):
            raise SetupError(
                f"app.background takes an `async def` function, not {name} ({origin(function)}); blocking code goes into a"
                " thread: `await asyncio.to_thread(f)`, or app.spawn(f) in a lifespan function"
            )
        if any(each.name == name for each in self.backgrounds):
            raise SetupError(f"two background loops are named {name!r}; give one of them another name=")
        if self.app.lifespan_state.is_started:
            raise SetupError(f"the background loop {name!r} is declared while the application runs; declare it before, or use app.spawn")
        self.backgrounds.append(Background(function, name))

    async def _keep(self, background: Background) -> None:
        """Run a loop; start it again when it fails, slower and slower while it fails at once."""
        pause = FIRST_PAUSE
        background.is_over = False
        while True:
            begun = time.monotonic()
            try:
                await self.do(Work(self.app), background.function, (self.app,) if background.takes_app else ())
            except Exception as error:
                background.failures += 1
                if time.monotonic() - begun >= LONGEST_PAUSE:
                    pause = FIRST_PAUSE
                self._failed("background loop", background.name, background.place, error, f" failed; it starts again in {pause:g} s")
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
            else:
                background.is_over = True
                return

    # -- start and stop ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the loops."""
        loop = asyncio.get_running_loop()
        self._loops = [loop.create_task(self._keep(each), name=f"carboy: {each.name}") for each in self.backgrounds]

    async def stop(self) -> None:
        """Cancel the loops and the tasks that may be cancelled, wait for the others; all within the time left."""
        self._stopped = self.app.lifespan_state.leaving
        limit = time_left(self.app)
        await asyncio.sleep(0)  # a task that a thread has just left gets on the loop
        loops, self._loops = self._loops, []
        for each in loops:
            each.cancel()
        here = asyncio.get_running_loop()
        tasks = {task._running: task for task in tuple(self.running) if task._running is not None and task._loop is here}
        for task in tasks.values():
            if task.at_shutdown == "cancel":
                task.cancel()
        waited = {*tasks, *loops}
        if not waited:
            return
        _, late = await asyncio.wait(waited, timeout=limit)
        for each in late:
            self.app.logger.warning("The %s is not over when the application must stop; it is cancelled", tasks.get(each) or each.get_name())
            each.cancel()
        if late:
            await asyncio.wait(late, timeout=min(limit, CLEANUP))


def name_of(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", None) or repr(function))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _stop_at_exit(ours: weakref.ref[Tasks], loop: asyncio.AbstractEventLoop) -> None:
    """The process ends without a lifespan's stop: end what runs on the loop, as far as that still turns."""
    tasks = ours()
    if tasks is None or not tasks.running or not loop.is_running():
        return
    with contextlib.suppress(concurrent.futures.TimeoutError, RuntimeError):
        asyncio.run_coroutine_threadsafe(tasks.stop(), loop).result(time_left(tasks.app) + CLEANUP)


class TaskGroup(asyncio.TaskGroup):
    """asyncio's task group with `spawn`: for work that belongs to a request and ends with it.

    The tasks see the same request, `g` and session as the view. Source of the rest: asyncio's documentation.
    """

    def __init__(self, tasks: Tasks) -> None:
        super().__init__()
        self._work = tasks

    def spawn(self, function: Callable[..., Any], *args: Any, name: str | None = None) -> asyncio.Task[Any]:
        """Start a function of either colour; a `def` runs in a thread, and one that has begun cannot be cancelled."""
        return self.create_task(self._call(function, args), name=name)

    async def _call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if is_async(function):
            return await function(*args)
        return await self._work.pool.submit(asyncio.get_running_loop(), function, args)
