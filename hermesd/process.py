"""The process around the app: logging, the claim to the home, signals, going to the background."""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

import trio

from hermesd import collector, log
from hermesd.app import App
from hermesd.deploy.heartbeat import beat
from hermesd.deploy.inherited import take_inherited
from hermesd.deploy.notify import Notifier
from hermesd.errors import HermesError
from hermesd.home import Home
from hermesd.redact import REDACTOR
from hermesd.rpc.claim import claim_home
from hermesd.rpc.handover import Handover
from hermesd.rpc.listen import STORED_NAME, open_listener
from hermesd.store.sqlite import SqliteStore
from hermesd.supervision.stall import StallWatchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hermesd.__main__ import Options
    from hermesd.config.settings import Settings
    from hermesd.rpc.calls import AuditRecord


logger = logging.getLogger("hermesd.process")


def serve(options: Options) -> int:
    """Run until stopped; returns the exit status. Raises HermesError when it cannot start."""
    if options.home:
        os.environ["HERMES_HOME"] = options.home
    home = Home.from_environment()
    home.create()
    if options.detach:
        return _detached(home, options)
    return _run(home, options, Notifier(options.ready_fd), on_ready=lambda: None)


def _run(home: Home, options: Options, notifier: Notifier, *, on_ready: Callable[[], None]) -> int:
    """Until it has stopped; the exit status, which can tell a client's wish from a signal's."""
    os.umask(0o077)
    early = EarlySignals()
    with _told(home.pid_path):
        claim = claim_home(home.pid_path)
    try:
        with _told(home.logs):
            log.configure(home.logs, level=options.log_level, to_stderr=not options.detach)
        try:
            _serve_home(home, notifier, early, on_ready)
        except HermesError:
            raise
        except Exception:
            logger.exception("hermesd ends: this is a bug")
            raise
        finally:
            log.close()
    finally:
        claim.release()
    return options.stop_status if early.is_clients_stop else 0


class EarlySignals:
    """What arrives before the loop listens is remembered, and what arrives after it is ignored: it is stopping then.

    A handler rather than SIG_IGN, which children would inherit. ``is_clients_stop``: no signal had come when it began.
    """

    def __init__(self) -> None:
        self.stop = False
        self.is_clients_stop = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: object) -> None:
        self.stop = self.stop or number != signal.SIGHUP


def _serve_home(home: Home, notifier: Notifier, early: EarlySignals, on_ready: Callable[[], None]) -> None:
    watchdog = StallWatchdog()
    handover = Handover(notifier)
    if notifier.watchdog_s:
        faulthandler.enable()  # the watchdog ends a wedged process with SIGABRT: its stacks go to standard error
    with _told(home.socket_path):
        listener = open_listener(home, handover.sort_out(take_inherited()))
    if notifier.is_heard and listener.path is not None and not listener.is_kept:
        notifier.store(STORED_NAME, [listener.socket.fileno()])  # now: it shall survive a crash, too
        listener.is_kept = True
    try:
        store = SqliteStore.open(state_path(home))
        try:
            app = App(
                home,
                store,
                listener,
                watchdog=watchdog,
                audit=_audit,
                loaded=_keep_secrets_out_of_logs,
                handover=handover if notifier.is_heard else None,
            )

            def ready() -> None:
                collector.keep()
                notifier.ready(_in_words(app))
                on_ready()

            with _refusals_alone():
                trio.run(_main, app, ready, notifier, early, watchdog)
        finally:
            store.close()
    finally:
        listener.close()


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the system refuses while starting is a sentence that names the file, and no traceback."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        step = "free some space on its disk" if full else "make it usable for this user"
        raise HermesError(error.strerror or str(error), where=str(path), next_step=step) from error


@contextlib.contextmanager
def _refusals_alone() -> Iterator[None]:
    """A refusal to start comes in a group for each nursery that it passed; alone, it is a sentence with its status."""
    try:
        yield
    except ExceptionGroup as group:
        found: Exception = group
        while isinstance(found, ExceptionGroup) and len(found.exceptions) == 1:
            [found] = found.exceptions
        if isinstance(found, HermesError):
            raise found from None
        raise


async def _main(
    app: App, ready: Callable[[], None], notifier: Notifier, early: EarlySignals, watchdog: StallWatchdog
) -> None:
    with watchdog.watching():
        async with trio.open_nursery() as nursery:
            await nursery.start(_heed_signals, app, notifier, early)
            if early.stop:
                app.request_stop(now=False)
            nursery.start_soon(beat, notifier, app.store.answers)
            nursery.start_soon(_tell_of_stop, app, notifier, early)
            try:
                await app.run(ready=ready)
            finally:
                nursery.cancel_scope.cancel()


async def _tell_of_stop(app: App, notifier: Notifier, early: EarlySignals) -> None:
    await app.asked_to_stop()
    early.is_clients_stop = not early.stop
    notifier.stopping()


async def _heed_signals(
    app: App, notifier: Notifier, early: EarlySignals, *, task_status: trio.TaskStatus[None]
) -> None:
    wanted, reloads = trio.open_memory_channel[None](1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_reload_each_time, app, notifier, reloads)  # beside: a stop must not wait for a reload's end
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
            task_status.started()
            async for number in received:
                if number == signal.SIGHUP:
                    with contextlib.suppress(trio.WouldBlock):  # one that has not begun yet covers this one
                        wanted.send_nowait(None)
                else:
                    early.stop = True
                    app.request_stop(now=False)


async def _reload_each_time(app: App, notifier: Notifier, requests: trio.MemoryReceiveChannel[None]) -> None:
    async for _ in requests:
        notifier.reloading()
        try:
            result = await app.reload()
        except (HermesError, OSError) as error:  # nobody is there to be answered, and it is no reason to end
            logger.error("reloading failed: %s", error)  # noqa: TRY400 - a known cause
            notifier.ready(f"running on; reloading failed: {error}")
        else:
            refused = f"; refused: {'; '.join(result.refused)}" if result.refused else ""
            notifier.ready(_in_words(app) + refused)


def _in_words(app: App) -> str:
    """For ``systemctl status``."""
    count = len(app.profile_summaries())
    return f"ready, {count} profile{'' if count == 1 else 's'}"


def state_path(home: Home) -> Path:
    """Where the state file of a home lies (``store.path`` of the default profile, or state.db)."""
    from hermesd.config.load import load_settings

    configured = load_settings(home.default_profile).config.store.path
    return home.root / configured if configured else home.state_path


def _audit(record: AuditRecord) -> None:
    outcome = f"{record.outcome}: {record.error}" if record.error else record.outcome
    log.audit(uid=record.uid, pid=record.pid, method=record.method, target=record.subject, outcome=outcome)


def _keep_secrets_out_of_logs(settings: Settings) -> None:
    REDACTOR.add(settings.secrets.values())


def _detached(home: Home, options: Options) -> int:
    """Go to the background as daemon(7) says; this process leaves once the daemon is ready, or tells why it is not."""
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            told = pipe.read(1)  # the exit status as a byte, 0 once ready; nothing if it was killed
            return told[0] if told else 1
    os.close(reader)
    import daemon  # type: ignore[import-untyped]  # python-daemon ships no types

    kept = [writer, *([options.ready_fd] if options.ready_fd >= 0 else [])]
    context = daemon.DaemonContext(
        files_preserve=kept, stderr=sys.stderr, umask=0o077, working_directory=str(home.root), signal_map={}
    )
    status = 1
    try:
        context.open()

        def on_ready() -> None:  # from here on the log file is where to look
            with contextlib.suppress(OSError):
                os.write(writer, b"\0")
            os.close(writer)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            os.close(null)

        status = _run(home, options, Notifier(options.ready_fd), on_ready=on_ready)
    except HermesError as error:
        sys.stderr.write(f"hermesd: {error}\n")
        sys.stderr.flush()
        status = error.exit_status
    finally:
        if status:  # nobody reads it any more once it was ready
            with contextlib.suppress(OSError):
                os.write(writer, bytes([status]))
        os._exit(status)
