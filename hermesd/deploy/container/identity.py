"""Which container this is: a hash of everything that ``create`` bakes in, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from hermesd.deploy.container.entrypoint import DEFAULT

if TYPE_CHECKING:
    from hermesd.deploy.container.manifest import Manifest

IDENTITY_SCHEMA = 1
"""Raised when ``create`` bakes in something else for the same manifest; every container is made anew then."""


def identity(manifest: Manifest) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal.

    Not in it: the package (a link names it), the environment (a file), how images are pulled, whose home is linked.
    """
    container = manifest.container
    baked = {
        "schema": IDENTITY_SCHEMA,
        "backend": container.backend,
        "image": container.image,
        "user": [container.user, container.uid, container.gid],
        "network": container.network,
        "store": container.store,
        "volumes": container.volumes,
        "options": container.options,
        "args": container.args,
        "state_dir": manifest.state_dir,
        "home": manifest.home,
        "entrypoint": container.entrypoint_text or DEFAULT,
    }
    text = json.dumps(baked, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
