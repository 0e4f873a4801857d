"""``hermesctl doctor``: by the daemon when one runs, else what can be seen without it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hermesd.errors import HermesError, UnreachableError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from hermesctl.context import Context
    from hermesd.rpc.wire import DoctorCheck


def register(parser: argparse.ArgumentParser) -> None:
    """No arguments of its own."""


def run(args: argparse.Namespace, context: Context) -> int:
    """Print the findings; status 1 when one is a problem."""
    try:
        return context.render()
    except UnreachableError as error:
        return _without_daemon(context, error)


def _without_daemon(context: Context, error: UnreachableError) -> int:
    import msgspec

    from hermesctl.output import columns, use_color
    from hermesd.rpc.checks import home_checks
    from hermesd.rpc.render import doctor
    from hermesd.rpc.render.page import Page
    from hermesd.rpc.wire import DoctorCheck, DoctorResult

    daemon = DoctorCheck(name="daemon", verdict="warning", detail=error.what, next_step=error.next_step)
    result = DoctorResult(checks=[*home_checks(context.home), *_configuration(context), daemon])
    if context.json:
        print(json.dumps(msgspec.to_builtins(result), ensure_ascii=False, indent=2))
    else:
        print(doctor.render(Page(width=columns(), color=use_color()), result), end="")
    return int(any(check.verdict == "problem" for check in result.checks))


def _configuration(context: Context) -> Iterator[DoctorCheck]:
    """Whether each profile's configuration can be read."""
    from hermesd.config.load import load_settings
    from hermesd.rpc.wire import DoctorCheck

    if not context.home.root.is_dir():
        return
    for profile in context.home.profiles():
        name = f"config {profile.name}"
        try:
            load_settings(profile)
        except HermesError as error:
            what = f"{error.where}: {error.what}" if error.where else error.what
            yield DoctorCheck(name=name, verdict="problem", detail=what, next_step=error.next_step)
        else:
            yield DoctorCheck(name=name, verdict="ok", detail=str(profile.config_path))
