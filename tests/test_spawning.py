"""A program that is a fork is what a new interpreter would be, in what tests look at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests import spawning
from tests.patience import PATIENCE

SURROUNDINGS = """
import json, os, sys
print(json.dumps([sys.argv, os.getcwd(), dict(os.environ), sys.path[0], __name__, os.getsid(0) == os.getpid()]))
"""


def both(command, **options):
    """What a new interpreter and a fork make of it."""
    anew = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, **options)
    forked = spawning.run(command, **options)
    return (anew.returncode, anew.stdout, anew.stderr), (forked.returncode, forked.stdout, forked.stderr)


@pytest.mark.parametrize("new_session", [False, True])
def test_arguments_variables_folder_and_session_are_those_asked_for(new_session, tmp_path):
    command = [sys.executable, "-c", SURROUNDINGS, "one", "two words"]
    given = {"cwd": tmp_path, "env": {"PATH": "", "LC_CTYPE": "C.UTF-8", "A": "ä\n"}}
    anew, forked = both(command, start_new_session=new_session, **given)
    assert forked == anew


@pytest.mark.parametrize(
    "code",
    [
        "pass",
        "import sys; sys.exit(7)",
        "import sys; sys.exit('words')",
        "import atexit; atexit.register(print, 'at its end'); print('first')",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import signal; signal.raise_signal(signal.SIGTERM)",
        "import os; print('unwritten', end=''); os._exit(3)",
        "import threading; threading.Timer(0.1, print, ['a thread is waited for']).start()",
    ],
)
def test_it_ends_as_an_interpreter_ends(code):
    anew, forked = both([sys.executable, "-c", code])
    assert forked == anew


def test_an_error_that_nobody_expects_is_a_traceback_and_a_failure():
    done = spawning.run([sys.executable, "-c", "1 / 0"])
    assert done.returncode == 1
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


@pytest.mark.parametrize("warnings", ["", "error", "ignore"])
def test_warnings_are_treated_as_the_variables_say(warnings):
    code = "import warnings; warnings.warn('old', DeprecationWarning); print('went on')"
    (anew, printed, _), (forked, written, _) = both(
        [sys.executable, "-c", code], env={"PATH": "", "PYTHONWARNINGS": warnings}
    )
    assert (forked, written) == (anew, printed)


def test_it_is_told_and_tells_while_it_runs():
    command = [sys.executable, "-c", "while True: print(input()[::-1], flush=True)"]
    with spawning.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        for words in ("abc", "def"):
            process.stdin.write(f"{words}\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{words[::-1]}\n"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        said, complained = process.communicate("ghi\n", PATIENCE)
        assert said == "ihg\n"
        assert complained.endswith("EOFError: EOF when reading a line\n")
        assert process.returncode == process.poll() == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it_by_its_id(number):
    command = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
    with spawning.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout.readline() == "up\n"
        os.kill(process.pid, number)
        assert process.wait(PATIENCE) == -number


def test_files_that_it_inherits_keep_their_numbers():
    reading, writing = os.pipe()
    with open(reading) as told:
        command = [sys.executable, "-c", f"import os; os.write({writing}, b'through the pipe')"]
        with spawning.Popen(command, pass_fds=[writing]) as process:
            os.close(writing)
            assert told.read() == "through the pipe"
            assert process.wait(PATIENCE) == 0
