"""The supervisor keeps services, adds and removes them at run time, and steers them by path."""

from __future__ import annotations

import gc
import logging
import weakref

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hermesd.errors import ConfigError, ConflictError, HermesError, NotFoundError
from hermesd.gateway.platform import PlatformError
from hermesd.redact import REDACTOR
from hermesd.supervision.current import service_path
from hermesd.supervision.service import ServiceSpec
from hermesd.supervision.supervisor import Supervisor

from .conftest import Recorder, Scripted, idle, spec


async def broken(task_status: trio.TaskStatus[None]) -> None:
    raise ValueError("no such luck")


async def test_an_added_service_is_ready_when_add_returns(root: Supervisor) -> None:
    """Add starts the service and waits for its started()."""
    status = await root.add(spec("store"))
    assert (status.name, status.state, status.restarts, status.last_error) == ("store", "ready", 0, "")


async def test_add_without_waiting_returns_while_the_service_starts(root: Supervisor) -> None:
    """The caller may choose not to wait."""
    assert (await root.add(spec("store"), wait=False)).state == "starting"
    await wait_all_tasks_blocked()
    assert root.find("store").state == "ready"


async def test_a_name_is_given_once(root: Supervisor) -> None:
    """A second service of the same name is a conflict."""
    await root.add(spec("store"))
    with pytest.raises(ConflictError):
        await root.add(spec("store"))


async def test_a_removed_service_is_gone_and_its_name_free(root: Supervisor) -> None:
    """Remove stops and forgets; the name can be given again."""
    await root.add(spec("telegram"))
    await root.remove("telegram")
    assert root.status().children == []
    with pytest.raises(NotFoundError):
        root.find("telegram")
    assert (await root.add(spec("telegram"))).state == "ready"


async def test_services_added_before_the_run_start_with_it(nursery: trio.Nursery) -> None:
    """A supervisor can be filled before it runs."""
    supervisor = Supervisor("hermesd")
    assert (await supervisor.add(spec("store"))).state == "stopped"
    await nursery.start(supervisor.run)
    await wait_all_tasks_blocked()
    assert supervisor.find("store").state == "ready"
    nursery.cancel_scope.cancel()


async def test_stop_start_and_restart_by_path(root: Supervisor, changes: Recorder) -> None:
    """A person stops, starts and restarts a service by its path."""
    await root.add(spec("telegram"))
    assert (await root.stop("telegram")).state == "stopped"
    assert (await root.start("telegram")).state == "ready"
    assert (await root.restart("telegram")).state == "ready"
    round_trip = ["draining", "stopped", "starting", "ready"]
    assert changes.states("telegram") == ["starting", "ready", *round_trip, *round_trip]


async def test_starting_a_running_service_leaves_it_alone(root: Supervisor) -> None:
    """Start is idempotent."""
    await root.add(spec("telegram"))
    before = root.service("telegram")
    await root.start("telegram")
    assert root.service("telegram") is before


async def test_a_start_that_meets_a_stop_waits_and_then_starts(root: Supervisor, nursery: trio.Nursery) -> None:
    """Start during draining takes effect after it."""
    drained = trio.Event()
    await root.add(spec("telegram", drain=drained.wait))
    nursery.start_soon(root.stop, "telegram")
    await wait_all_tasks_blocked()
    nursery.start_soon(root.start, "telegram")
    await wait_all_tasks_blocked()
    assert root.find("telegram").state == "draining"
    drained.set()
    await wait_all_tasks_blocked()
    assert root.find("telegram").state == "ready"


async def test_every_start_gets_a_fresh_service(root: Supervisor) -> None:
    """The factory is called for each start."""
    await root.add(spec("telegram"))
    before = root.service("telegram")
    await root.restart("telegram")
    assert root.service("telegram") is not before


async def test_supervisors_nest_and_paths_lead_through_them(root: Supervisor, changes: Recorder) -> None:
    """A child that is a supervisor has children under its own path, in one recursive status."""
    coder = Supervisor("coder")
    await root.add(ServiceSpec("profile/coder", lambda: coder))
    await coder.add(spec("telegram"))
    assert root.find("profile/coder/telegram").state == "ready"
    assert [child.name for child in root.status().children[0].children] == ["profile/coder/telegram"]
    assert changes.states("profile/coder/telegram") == ["starting", "ready"]
    await root.stop("profile/coder/telegram")
    assert coder.find("profile/coder/telegram").state == "stopped"


async def test_a_stopped_tree_keeps_its_children_and_starts_them_again(root: Supervisor) -> None:
    """Stopping a profile stops what is in it; starting it starts what was wanted, not what a person stopped."""
    coder = Supervisor("coder")
    await root.add(ServiceSpec("profile/coder", lambda: coder))
    await coder.add(spec("telegram"))
    await coder.add(spec("discord"))
    await root.stop("profile/coder/discord")
    await root.stop("profile/coder")
    assert [child.state for child in root.find("profile/coder").children] == ["stopped", "stopped"]
    with pytest.raises(ConflictError):
        await root.start("profile/coder/telegram")
    await root.start("profile/coder")
    await wait_all_tasks_blocked()
    assert [child.state for child in root.find("profile/coder").children] == ["ready", "stopped"]


async def test_a_path_that_leads_nowhere_is_not_found(root: Supervisor) -> None:
    """Unknown paths are errors of the caller."""
    await root.add(ServiceSpec("profile/coder", lambda: Supervisor("coder")))
    for path in ("", "nothing", "profile", "profile/coder/nothing"):
        with pytest.raises(NotFoundError):
            root.find(path)


async def test_a_service_that_breaks_before_it_is_ready_says_so(root: Supervisor) -> None:
    """The two kinds of failure are told apart in the error text."""

    async def late(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        raise ValueError("no such luck")

    await root.add(spec("early", broken, max_restarts=0))
    await root.add(spec("late", late, max_restarts=0))
    await wait_all_tasks_blocked()
    assert root.find("early").last_error.startswith("could not start: ValueError: no such luck")
    assert root.find("late").last_error.startswith("ValueError: no such luck")


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("telegram needs a token", where="config.yaml:7", next_step="set TELEGRAM_BOT_TOKEN"),
        PlatformError("the token is not valid", next_step="ask BotFather for another", fatal=True),
    ],
)
async def test_an_error_that_no_restart_can_mend_fails_at_once(root: Supervisor, error: HermesError) -> None:
    """Wrong configuration or a fatal platform error is shown with its next step, without restarts."""

    async def run(task_status: trio.TaskStatus[None]) -> None:
        raise error

    status = await root.add(spec("telegram", run))
    assert (status.state, status.restarts) == ("failed", 0)
    assert error.what in status.last_error
    assert error.next_step in status.last_error


async def test_a_fatal_error_among_others_is_found(root: Supervisor) -> None:
    """Leaves of nested groups are looked at one by one."""

    async def run(task_status: trio.TaskStatus[None]) -> None:
        fatal = PlatformError("the token is not valid", fatal=True)
        raise ExceptionGroup("a", [ValueError("x"), ExceptionGroup("b", [fatal])])

    status = await root.add(spec("telegram", run))
    assert status.state == "failed"
    assert "ValueError: x; the token is not valid" in status.last_error


async def test_a_failed_service_starts_again_by_hand(root: Supervisor) -> None:
    """A person's start gives a fresh budget."""
    answers = [ValueError("once"), None]

    async def run(task_status: trio.TaskStatus[None]) -> None:
        if error := answers.pop(0):
            raise error
        await idle(task_status)

    assert (await root.add(spec("telegram", run, max_restarts=0))).state == "failed"
    assert (await root.start("telegram")).state == "ready"


async def test_no_exception_object_outlives_its_failure(root: Supervisor) -> None:
    """Errors are kept as text: nothing of the failed run stays in memory."""
    logging.getLogger("hermesd.supervision").setLevel(logging.CRITICAL)  # the test runner keeps log records
    refs: list[weakref.ref[BaseException]] = []

    class OddError(Exception):
        pass

    async def run(task_status: trio.TaskStatus[None]) -> None:
        error = OddError("x")
        refs.append(weakref.ref(error))
        raise error

    await root.add(spec("telegram", run, max_restarts=2, immediate=3))
    logging.getLogger("hermesd.supervision").setLevel(logging.NOTSET)
    gc.collect()
    assert [ref() for ref in refs] == [None, None, None]


async def test_a_secret_in_an_error_is_not_shown(root: Supervisor) -> None:
    """The status is redacted, even where the text is cut, and holds no line ends or terminal sequences."""
    REDACTOR.add(["swordfish-9000"])

    async def run(task_status: trio.TaskStatus[None]) -> None:
        raise ValueError("x" * 470 + "\n\x1b[31m swordfish-9000")

    text = (await root.add(spec("telegram", run, max_restarts=0))).last_error
    assert "swordfish" not in text
    assert text.isprintable()


async def test_code_of_a_service_knows_its_path(root: Supervisor) -> None:
    """Tasks that a service starts inherit its path, and nothing of whoever added it."""
    seen: list[str] = []

    async def run(task_status: trio.TaskStatus[None]) -> None:
        async def part() -> None:
            seen.append(service_path.get())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(part)
        await idle(task_status)

    service_path.set("rpc")
    await root.add(spec("telegram", run))
    await root.add(ServiceSpec("other", lambda: Scripted(run)))
    assert seen == ["telegram", "other"]
    assert service_path.get() == "rpc"


async def test_started_may_be_said_once(root: Supervisor) -> None:
    """A second started() in one run is a bug of the service."""

    async def run(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        task_status.started()

    await root.add(spec("odd", run, max_restarts=0))
    await wait_all_tasks_blocked()
    assert "started() was called twice" in root.find("odd").last_error


async def test_a_factory_that_raises_is_a_failed_start(root: Supervisor) -> None:
    """Making the service is part of starting it."""

    def factory() -> Scripted:
        raise ConfigError("nothing to make")

    assert (await root.add(ServiceSpec("odd", factory))).state == "failed"


async def test_a_listener_that_raises_stops_nothing(nursery: trio.Nursery) -> None:
    """on_change is told, and its bug is its own."""

    def listener(status: object) -> None:
        raise ValueError("bug")

    supervisor = Supervisor("hermesd", on_change=listener)
    await nursery.start(supervisor.run)
    assert (await supervisor.add(spec("store"))).state == "ready"
    nursery.cancel_scope.cancel()


async def test_a_keyboard_interrupt_in_a_service_reaches_the_root() -> None:
    """Only errors are contained: what ends the process passes."""

    async def run(task_status: trio.TaskStatus[None]) -> None:
        raise KeyboardInterrupt

    supervisor = Supervisor("hermesd")
    await supervisor.add(spec("store"))
    await supervisor.add(spec("odd", run))
    with pytest.raises(BaseExceptionGroup) as caught:
        await supervisor.run()
    assert caught.group_contains(KeyboardInterrupt)
    assert supervisor.find("store").state == "stopped"


async def test_cancelling_the_supervisor_stops_everything() -> None:
    """Cancelled flows through, and the states are at rest afterwards."""
    supervisor = Supervisor("hermesd")
    await supervisor.add(spec("store"))
    await supervisor.add(spec("broken", broken, immediate=0, base_s=50))
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            await wait_all_tasks_blocked()
            scope.cancel()
    assert [child.state for child in supervisor.status().children] == ["stopped", "stopped"]


async def test_a_supervisor_runs_once_at_a_time(root: Supervisor) -> None:
    """A second run of the same object is a bug."""
    with pytest.raises(RuntimeError):
        await root.run()


async def test_a_service_that_breaks_its_own_nursery_hurts_nobody(root: Supervisor) -> None:
    """A nursery entered and never left is contained like any failure (Trio reports the corruption)."""

    async def run(task_status: trio.TaskStatus[None]) -> None:
        await trio.open_nursery().__aenter__()
        task_status.started()

    await root.add(spec("neighbour"))
    await root.add(spec("odd", run, max_restarts=0))
    await wait_all_tasks_blocked()
    assert "stack corrupted" in root.find("odd").last_error
    assert root.find("neighbour").state == "ready"
