"""The real snakemake without its 2 s of imports: a process that has imported it forks for each command.

Run as a program it is that process: it reads a command (folder, arguments, environment) as a line of JSON, and answers
with a line that holds the exit status and everything printed. It imports nothing of this project.
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path


def snakemake(folder: Path, arguments: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run the command in a folder. Return the exit status and everything printed."""
    server = _server()
    assert server.stdin
    assert server.stdout
    print(json.dumps([str(folder), arguments, environment]), file=server.stdin, flush=True)
    status, output = json.loads(server.stdout.readline())
    return status, output


@cache
def _server() -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    server = subprocess.Popen(
        [sys.executable, "-P", __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(server.kill)
    return server


def _serve() -> None:
    import pandas  # noqa: F401 - Snakemake and a plugin import it later
    from snakemake import cli

    for line in sys.stdin:
        folder, arguments, environment = json.loads(line)
        with tempfile.TemporaryFile() as printed:
            child = os.fork()
            if child == 0:
                _run(cli, folder, arguments, environment, printed.fileno())
            _, status = os.waitpid(child, 0)
            printed.seek(0)
            output = printed.read().decode(errors="replace")
        print(json.dumps([os.waitstatus_to_exitcode(status), output]), flush=True)


def _run(cli, folder: str, arguments: list[str], environment: dict[str, str], output: int) -> None:
    """Be the command: in a session, folder and environment of its own."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = [str(Path(sys.executable).with_name("snakemake")), *arguments]
    try:
        cli.main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve()
