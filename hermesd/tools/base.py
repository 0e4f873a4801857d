"""What a tool is: a name, a schema, an effect class, and a coroutine that gets its scope as an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from hermesd.home import Profile
    from hermesd.store.records import Effect
    from hermesd.tools.state import ToolState


class ToolResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the model is told. ``untrusted`` marks text from outside (a file, a page, a command's output)."""

    text: str
    is_error: bool = False
    untrusted: bool = False


async def _nothing_asked() -> None:
    """There is no question to take back."""


class Jobs(Protocol):
    """Scheduled jobs of the turn's profile. Every method answers in words for the model, and raises HermesError."""

    async def create(self, schedule: str, prompt: str, *, name: str, deliver: str, repeat: int) -> str:
        """Make a job; '' and 0 leave a field to its default."""

    async def update(self, reference: str, schedule: str, prompt: str, *, name: str, deliver: str, repeat: int) -> str:
        """Change a job; '' and 0 leave a field as it is."""

    async def listing(self) -> str:
        """Those there are."""

    async def act(self, action: Literal["pause", "resume", "run", "remove"], reference: str) -> str:
        """Change one, by id or name."""


class ToolContext(msgspec.Struct, frozen=True):
    """The scope of one call: nothing a tool needs comes from a module global or the process environment.

    ``ask(question, options)`` puts a question to the user through whichever surface the session has, and returns the
    answer, or None when nobody answered; ``attended`` says whether somebody can be asked at all, and ``withdraw()``
    takes back questions of this call whose answer is not wanted any more. ``env`` is the whole environment a child
    process gets. ``state`` holds what must outlive the call: the todo list, background processes.
    """

    profile: Profile
    workspace: Path
    session_id: str
    turn_id: str
    call_id: str
    env: Mapping[str, str]
    ask: Callable[[str, list[str]], Awaitable[str | None]]
    state: ToolState
    terminal_timeout_s: float = 180.0
    read_roots: tuple[Path, ...] = msgspec.field(default=())
    attended: bool = True
    withdraw: Callable[[], Awaitable[None]] = _nothing_asked
    jobs: Callable[[], Jobs] | None = None


class Tool(Protocol):
    """One tool, stateless: an instance serves every profile."""

    name: str
    description: str
    parameters: dict[str, object]
    """JSON Schema of the arguments (object)."""

    def effect(self, arguments: Mapping[str, object]) -> Effect:
        """What re-running this very call may do."""

    async def run(self, arguments: Mapping[str, object], context: ToolContext) -> ToolResult:
        """Do it. Expected failures are results with ``is_error``; anything raised is a bug and is reported as one."""
