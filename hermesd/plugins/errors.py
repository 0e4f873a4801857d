"""What goes wrong with a plugin, always with the plugin's name."""

from __future__ import annotations

from hermesd.errors import HermesError

MAX_TEXT = 500  # characters of what a plugin says about its own failure


class PluginError(HermesError):
    """A plugin cannot be loaded, or asks for what there is not. ``where`` is ``plugin NAME``."""

    def __init__(self, plugin: str, what: str, *, next_step: str = "") -> None:
        super().__init__(what, where=f"plugin {plugin}", next_step=next_step)
        self.plugin = plugin


class UnsupportedError(PluginError, AttributeError):
    """The plugin looked for something that its context does not have; ``hasattr`` takes it for a no."""


def said(error: BaseException) -> str:
    """An exception of a plugin as one bounded line without hidden characters, and without what is known as a secret."""
    from hermesd.mcp.sanitize import visible
    from hermesd.redact import REDACTOR

    text = " ".join(visible(str(error)[: 4 * MAX_TEXT]).split())
    text = REDACTOR.redact(f"{type(error).__name__}: {text}" if text else type(error).__name__)
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
