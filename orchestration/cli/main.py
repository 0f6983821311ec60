"""The entry point `headwater`: every way out of a command ends here, as one clear message and one exit code.

Catching errors and signals belongs here; what commands do lies in the modules that `orchestration.cli.app` names. Light: nothing
but `sys` is imported for `--version`.

Exit codes: 0 ok, 1 the operation failed, 2 usage, 3 authoritative text is invalid, 4 `status --exit-code` found stale artifacts,
130 interrupted, 141 the reader of our output went away, 143 terminated.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from orchestration.cli import VERSION, Terminated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestration.cli.app import App

FAILED = 1
USAGE = 2
INTERRUPTED = 130
READER_GONE = 141
TERMINATED = 143
COMPLETE = "_HEADWATER_COMPLETE"
"""The variable through which the completion script asks for candidates."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (without the program name) and return its exit code; never raises."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["--version"]:
        return _finish(lambda: print(f"headwater {VERSION}"))
    return _finish(lambda: _run(given))


def _finish(work: Callable[[], int | None]) -> int:
    """`work()`'s exit code after flushing stdout, so that a full disk or a closed pipe is noticed while we can still say so."""
    try:
        code = work()
        sys.stdout.flush()
        return code or 0
    except BrokenPipeError:
        _silence()
        return READER_GONE
    except OSError as error:
        _silence()
        print(f"headwater: cannot write the output: {error.strerror}", file=sys.stderr)
        return FAILED
    except (KeyboardInterrupt, Terminated) as stop:
        return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED


def _silence() -> None:
    """Point stdout at the null device: the interpreter flushes it once more on exit and would print a traceback."""
    import os

    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _run(arguments: list[str]) -> int:
    import os
    import signal

    import click

    from orchestration.cli.app import App, cli

    if instruction := os.environ.get(COMPLETE):
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, "headwater", COMPLETE, instruction)
    app = App(json="--json" in arguments, debug="--debug" in arguments)
    signal.signal(signal.SIGINT, app.stop)
    signal.signal(signal.SIGTERM, app.stop)
    show = sys.unraisablehook

    def unraisable(problem: sys.UnraisableHookArgs) -> None:
        # A signal may arrive in a destructor, where Python can only print a traceback, and leave others half-done;
        # `app` knows that it came.
        if not app.stopped:
            show(problem)

    sys.unraisablehook = unraisable
    try:
        # Not `cli.main`: it turns closed pipes and interrupts into exit codes of its own.
        with cli.make_context("headwater", arguments, obj=app) as context:
            result = cli.invoke(context)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except Exception as error:
        if isinstance(error, BrokenPipeError):
            raise
        if app.debug:
            import traceback

            traceback.print_exc()
        # Libraries in C turn the exception of a signal handler into one of theirs.
        app.raise_if_stopped()
        return _report(app, error)
    except (KeyboardInterrupt, Terminated):
        app.note("interrupted")
        raise
    finally:
        if not app.stopped:  # else the destructors that run at the interpreter's end are still to come
            sys.unraisablehook = show
        app.close()


def _report(app: App, error: Exception) -> int:
    """Show `error` the way the user asked to be spoken to, and return its exit code."""
    import click

    from schemas.errors import HeadwaterError

    if isinstance(error, click.Abort):
        error = HeadwaterError("a question was not answered: the input ended", fix="answer it at a terminal, or pass --yes")
    elif isinstance(error, click.exceptions.NoArgsIsHelpError) and not app.json:
        app.note(error.format_message())
        return USAGE
    elif isinstance(error, click.UsageError):
        usage = HeadwaterError(error.format_message(), fix=f"see `{_help_command(error)}`", rule="usage")
        usage.exit_code = USAGE
        error = usage
    elif isinstance(error, click.ClickException):
        error = HeadwaterError(error.format_message())
    elif isinstance(error, OSError):
        from resources.problems import problem_of

        error = problem_of(error)
    elif not isinstance(error, HeadwaterError):
        from resources.problems import database_problem

        known = database_problem(error)
        if known is not None:
            app.show_error(known)
            return known.exit_code
        error = HeadwaterError(
            f"internal error: {type(error).__name__}: {error}",
            rule="internal",
            fix="run the same command with --debug and report what it prints",
        )
    app.show_error(error)
    return error.exit_code


def _help_command(error: object) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'headwater'} --help"


if __name__ == "__main__":
    sys.exit(main())
