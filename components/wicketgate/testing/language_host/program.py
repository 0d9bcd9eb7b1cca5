"""Runs a Pulumi program: a script for the program's own Python, which needs `pulumi` there and nothing of
ours.

Started by path, not imported. Settings come as arguments; config comes in the environment (`PULUMI_CONFIG`,
`PULUMI_CONFIG_SECRET_KEYS`), since arguments are readable by anyone on the machine. Exit code 32 says that
the user has already been shown what went wrong.
"""

import argparse
import asyncio
import inspect
import logging
import os
import runpy
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

SHOWN_TO_USER = 32
_NO_SDK = (
    "the Pulumi SDK is not installed in this Python (`{python}`): {reason}\nRun `pulumi install`, or add `pulumi`."
)


def main() -> int:
    """Run the program that the arguments name; gives the exit code."""
    arguments = _parser().parse_args()
    # The script's own folder would shadow modules of the program's.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    try:
        import pulumi
        import pulumi.runtime
    except ImportError as cause:
        sys.stderr.write(_NO_SDK.format(python=sys.executable, reason=cause) + "\n")
        return 1

    runtime = pulumi.runtime
    runtime.set_all_config(runtime.get_config_env(), runtime.get_config_secret_keys_env())
    settings = {
        "monitor": arguments.monitor,
        "engine": arguments.engine,
        "project": arguments.project,
        "stack": arguments.stack,
        "parallel": arguments.parallel,
        "dry_run": arguments.dry_run == "true",
        "organization": arguments.organization,
        "root_directory": arguments.root_directory,
    }
    known = inspect.signature(runtime.Settings.__init__).parameters  # older SDKs know fewer
    runtime.configure(runtime.Settings(**{key: value for key, value in settings.items() if key in known}))

    sys.argv = [arguments.program, *arguments.arguments]
    if arguments.pwd:
        os.chdir(arguments.pwd)
    # A program that fails leaves futures that nobody awaits; asyncio's complaints would bury its error.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)

    entry = _entry(arguments.program)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    executor = ThreadPoolExecutor(max_workers=max(arguments.parallel, 1) * 4)
    loop.set_default_executor(executor)
    try:
        entry = _entry(arguments.program)
        if entry is None:
            pulumi.log.error(f"no `__main__.py` in `{os.path.abspath(arguments.program)}`")
            return SHOWN_TO_USER
        loop.run_until_complete(runtime.run_in_stack(lambda: _run(arguments.program)))
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return 1
    except Exception as error:  # the boundary: whatever the program raised is shown
        pulumi.log.error(f"Program failed with an unhandled exception:\n{_user_traceback(error, entry)}")
        return SHOWN_TO_USER
    finally:
        executor.shutdown(wait=True)
        loop.close()
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Run a Pulumi program.")
    for name in ("monitor", "engine", "project", "stack", "organization", "root_directory", "pwd", "dry_run"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("program")
    parser.add_argument("arguments", nargs="*")
    return parser


def _run(program: str) -> None:
    runpy.run_path(program, run_name="__main__")


def _entry(program: str) -> "str | None":
    """The file that runs, or None where a folder has no `__main__.py`."""
    path = os.path.join(program, "__main__.py") if os.path.isdir(program) else program
    return os.path.abspath(path) if os.path.isfile(path) else None


def _user_traceback(error: Exception, entry: "str | None") -> str:
    """The traceback from the program's own file on: what lies above is the SDK's and ours."""
    frames = traceback.extract_tb(error.__traceback__)
    for index, frame in enumerate(frames):
        if os.path.abspath(frame.filename) == entry:
            return "".join(traceback.format_exception(error, limit=index - len(frames)))
    return "".join(traceback.format_exception(error))


if __name__ == "__main__":
    sys.exit(main())
