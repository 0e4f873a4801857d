"""One conversation over connections that may break: each message has a delivery id, so saying it again is safe."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Any, Protocol

from hermesd.errors import HermesError, NotFoundError, RestartError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from hermesctl.context import Context

RECONNECT_FOR_S = 120.0
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 2.0
LAGGED = -32030  # as in hermesd.rpc.wire


class View(Protocol):
    """Where a turn is shown."""

    def update(self, update: dict[str, Any]) -> None:  # a ChatUpdate of the wire, as plain data
        """Something happened in the turn."""

    def ask(self, question: dict[str, Any]) -> str | None:  # a QuestionRow of the wire, as plain data
        """The answer to a question of the turn; None: nobody gives one. KeyboardInterrupt stops the turn."""

    def lost(self) -> None:
        """The daemon is away; the message will be sent again."""

    def found(self) -> None:
        """The daemon is back."""


class Conversation:
    """A profile's session and what is being said in it. ``session`` is '' until it is known."""

    def __init__(self, context: Context, *, session: str = "", new: bool = False) -> None:
        self.context = context
        self.session = session
        self.new = new
        self._interrupted = False
        self._asking = False

    def resume(self, session: str) -> dict[str, Any]:  # a SessionResult, as plain data
        """Go on with a session by its id or the beginning of it; raises NotFoundError, ConflictError."""
        found = self.context.call("sessions.show", session=session, profile=self.context.profile, limit=4)
        self.session, self.new = str(found["session"]["id"]), False
        return found

    def resume_last(self) -> None:
        """Go on with the session used last; raises NotFoundError when there is none."""
        found = self.context.call("sessions.list", profile=self.context.profile, limit=1)["sessions"]
        if not found:
            raise NotFoundError("there is no session yet", next_step="leave out -c to begin one")
        self.session, self.new = str(found[0]["id"]), False

    def say(self, text: str, view: View) -> dict[str, Any]:  # a ChatResult, as plain data
        """Say something and show the turn; its result. A lost connection is made again and the message repeated
        under the same delivery id, for two minutes. Ctrl-C stops the turn, a second one stops waiting
        (KeyboardInterrupt). Raises HermesError."""
        params = {
            "text": text,
            "profile": self.context.profile,
            "session": self.session,
            "new": self.new,
            "delivery_id": os.urandom(16).hex(),
        }
        self._interrupted = False
        with self._interrupts_stop_the_turn():
            result = self._deliver(params, view)
        self.session, self.new = str(result.get("session", "")) or self.session, False
        return result

    def interrupt(self) -> str:
        """Stop the running turn of this session; what the daemon says to it."""
        result = self.context.call("chat.interrupt", profile=self.context.profile, session=self.session)
        return str(result.get("message", ""))

    def _deliver(self, params: dict[str, Any], view: View) -> dict[str, Any]:
        def update(message: dict[str, Any]) -> None:
            self.session = str(message.get("session", "")) or self.session
            view.update(message)
            if message["kind"] == "question":
                self._answer(message["question"], view)

        result = self._attempt(params, update)
        if result is not None:
            return result
        view.lost()
        deadline, wait_s = time.monotonic() + RECONNECT_FOR_S, FIRST_WAIT_S
        while time.monotonic() < deadline:
            time.sleep(wait_s)  # a daemon that restarts has no way to tell clients it has forgotten
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)
            with contextlib.suppress(UnreachableError):
                self.context.call("rpc.ping")
                view.found()
                wait_s = FIRST_WAIT_S
                result = self._attempt(params, update)
                if result is not None:
                    return result
        raise UnreachableError(
            "hermesd went away and did not come back",
            next_step="what it had accepted is stored, and answered when it runs again: hermesctl sessions list",
        )

    def _attempt(self, params: dict[str, Any], update: Any) -> dict[str, Any] | None:  # noqa: ANN401 - a callback of JSON
        """The result, or None when the daemon was lost on the way. Raises UnreachableError if it was never there."""
        with self.context.client() as client:
            try:
                return client.stream("chat.send", params, update)
            except (UnreachableError, RestartError):
                return None
            except HermesError as error:
                if error.rpc_code != LAGGED:
                    raise
                return None

    def _answer(self, question: dict[str, Any], view: View) -> None:
        """Have a question answered over a connection of its own: this one is busy with the stream."""
        self._asking = True
        try:
            answer = view.ask(question)
        except KeyboardInterrupt:
            self._interrupted = True
            self.interrupt()
            return
        finally:
            self._asking = False
        try:
            self.context.call("chat.answer", question=question["id"], answer=answer)
        except HermesError as error:  # answered elsewhere, expired, or the daemon restarts and asks again
            view.update({"kind": "notice", "text": error.what})

    @contextlib.contextmanager
    def _interrupts_stop_the_turn(self) -> Iterator[None]:
        """SIGINT asks the daemon to stop the turn and lets the stream come to its end; the second one raises."""

        def on_interrupt(_signal: int, _frame: FrameType | None) -> None:
            if self._interrupted or self._asking:
                raise KeyboardInterrupt
            self._interrupted = True
            with contextlib.suppress(HermesError, OSError):
                self.interrupt()

        before = signal.signal(signal.SIGINT, on_interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
