"""The home of a service that is being installed: there, and owned by whom the daemon runs as, before it starts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hermesd.deploy import unitfile
from hermesd.home import Home

if TYPE_CHECKING:
    from hermesd.deploy.manager import Installation


def make_home(installation: Installation) -> None:
    """Make it where it is not there yet, 0700. Raises ConfigError when the system refuses."""
    if installation.scope == "user":
        Home(installation.home).create()
        return
    import pwd

    try:
        found = pwd.getpwnam(installation.user)
        installation.home.mkdir(mode=0o700, parents=True)
        os.chown(installation.home, found.pw_uid, found.pw_gid, follow_symlinks=False)
    except FileExistsError:
        return
    except OSError as error:
        raise unitfile.refused(installation.home, error) from error
