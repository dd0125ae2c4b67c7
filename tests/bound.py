"""Programs that end with the tests, even where those are killed.

Linux sends the signal when the *thread* that started a program ends (prctl(2), PR_SET_PDEATHSIG). Tests start servers from
threads that come and go, so one that stays does it for them.
"""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_STARTER = ThreadPoolExecutor(1, thread_name_prefix="starter")


def popen(command: Any, **options: Any) -> subprocess.Popen[Any]:
    """`subprocess.Popen`, from the thread that stays."""
    return _STARTER.submit(subprocess.Popen, command, **options).result()
