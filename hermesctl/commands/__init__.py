"""Verbs of hermesctl, a file each; only the chosen one is imported.

A verb's module has two functions:

    def register(parser: argparse.ArgumentParser) -> None    adds arguments, or sub-commands by ``arguments.actions``
    def run(args: argparse.Namespace, context: Context) -> int    does it and returns the exit status

``context`` (``hermesctl.context``) carries the home, ``-p`` and ``--json``, and connects when asked to. Errors are
raised as ``HermesError``; ``hermesctl.__main__`` turns them into text and an exit status. One line about each verb
stands in ``hermesctl.verbs``, so that ``hermesctl --help`` imports none of them.
"""
