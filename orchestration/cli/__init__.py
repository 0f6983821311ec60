"""The `headwater` command line: one module per group of commands, loaded only when one of its commands runs."""

VERSION = "0.1.0"
"""The version of the distribution; a literal because reading package metadata costs more than the rest of `--version`."""


class Terminated(BaseException):
    """SIGTERM arrived; like KeyboardInterrupt no Exception, so that only clean-up sees it on its way out."""
