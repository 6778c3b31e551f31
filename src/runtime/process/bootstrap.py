# Calls `package.module:function` with the parameters of the workload as keyword arguments.
#
# Arguments: the callable, then the directories that come first in sys.path.
# FLEETCTL_PARAMS: a JSON object. FLEETCTL_ERROR_FILE: where an exception is written, as JSON with
# `type`, `message` and `traceback`; whoever started this reads it when the process has ended.
# Whatever the callable returns, the exit code is 0; SystemExit is honoured.
import importlib
import inspect
import json
import os
import sys
import traceback

LIMIT = 4096


def bounded(text, limit, tail=False):
    data = text.encode("utf-8", "replace")
    data = data[-limit:] if tail else data[:limit]
    return data.decode("utf-8", "ignore")


def note(kind, message, trace=""):
    print(trace.rstrip("\n") or f"{kind}: {message}", file=sys.stderr)
    try:
        record = {
            "type": bounded(kind, 128),
            "message": bounded(message, 512),
            "traceback": bounded(trace, LIMIT, tail=True),
        }
        with open(os.environ["FLEETCTL_ERROR_FILE"], "w", encoding="utf-8") as out:
            json.dump(record, out, ensure_ascii=False)
    except (KeyError, OSError):
        pass
    raise SystemExit(1)


def note_exception(error):
    # Where this file is at work is of no use to anybody.
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == "<string>":
        frames = frames.tb_next
    trace = "".join(traceback.format_exception(type(error), error, frames))
    try:
        message = str(error)
    except Exception:
        message = "(its text cannot be told)"
    note(type(error).__name__, message, trace)


def load(name):
    module_name, colon, path = name.partition(":")
    if not (module_name and colon and path):
        note("ValueError", f"`{name}` is no callable: write `package.module:function`")
    try:
        found = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(missing + "."):
            note(
                "ModuleNotFoundError",
                f"there is no module `{missing}` on this node; see `python_path`, `venv` and `working_dir`",
            )
        note_exception(error)
    except Exception as error:
        note_exception(error)
    for part in path.split("."):
        if not hasattr(found, part):
            note("AttributeError", f"module `{module_name}` has no `{path}`")
        found = getattr(found, part)
    if not callable(found):
        note("TypeError", f"`{name}` is not callable")
    return found


def call(function, name, params):
    try:
        inspect.signature(function).bind(**params)
    except TypeError as error:
        note("TypeError", f"`{name}` does not take these params: {error}")
    except ValueError:
        pass  # Something built in, which does not tell what it takes.
    result = function(**params)
    if inspect.iscoroutine(result):
        import asyncio  # Only here: it is large, and boards are small.

        asyncio.run(result)


def main():
    name = sys.argv[1]
    sys.path[:0] = sys.argv[2:]
    sys.argv[:] = [name]
    try:
        params = json.loads(os.environ.get("FLEETCTL_PARAMS") or "{}")
    except ValueError:
        params = None
    if not isinstance(params, dict):
        note("ValueError", "FLEETCTL_PARAMS is no JSON object")
    function = load(name)
    try:
        call(function, name, params)
    except Exception as error:
        note_exception(error)


main()
