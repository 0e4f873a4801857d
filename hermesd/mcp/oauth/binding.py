"""Whether a sign-in is to be bound to a key (RFC 9449), and to which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.mcp.oauth.dpop import ALGORITHM, ProofKey, key_from, new_key

if TYPE_CHECKING:
    from hermesd.mcp.oauth.discovery import Discovered
    from hermesd.mcp.oauth.settings import OAuthSettings
    from hermesd.mcp.oauth.storage import TokenStorage


def is_wanted(settings: OAuthSettings, at: Discovered) -> bool:
    """Whether tokens are asked for with a proof.

    The resource has to ask for it, or the configuration: many authorization servers announce DPoP for resources that
    take bearer tokens only, and would hand out tokens that are good for nothing there.
    """
    if settings.dpop == "never" or (at.server.dpop_algorithms and ALGORITHM not in at.server.dpop_algorithms):
        return False
    return at.dpop or settings.dpop == "always"


async def proof_key(settings: OAuthSettings, at: Discovered, storage: TokenStorage) -> ProofKey | None:
    """The key to show, None where none is wanted.

    One that is there is used again: were it replaced, the tokens on disk would be without theirs for a moment.
    """
    if not is_wanted(settings, at):
        return None
    return await key_from(storage.read_key()) or await new_key()
