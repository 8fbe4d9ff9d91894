"""The processes that tests have started, and whose they are."""

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

_PR_SET_CHILD_SUBREAPER = 36

_HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
"""Python's own, one a process, as long as it lives. Children of theirs are looked at as ours."""

owners: dict[int, Any] = {}


def keep(process: subprocess.Popen[Any], owner: object = None) -> None:
    """This one is meant to outlive the test that starts it; its owner ends it."""
    owners[process.pid] = owner


def _children(pid: int) -> set[int]:
    """Direct children, of all threads, that have not ended."""
    tasks = Path(f"/proc/{pid}/task")
    try:
        lists = [(task / "children").read_text() for task in tasks.iterdir()]
    except OSError:  # another system than Linux, or the process is gone
        found = psutil.Process(pid).children() if psutil.pid_exists(pid) else []
        return {child.pid for child in found}
    return {int(child) for text in lists for child in text.split()}


def _command(pid: int) -> str:
    """Its command line; empty when it has ended, waited for or not. One that has just begun has
    none for a moment: then it is called by its number."""
    try:
        process = psutil.Process(pid)
        line = subprocess.list2cmdline(process.cmdline())
        return line or ("" if process.status() == psutil.STATUS_ZOMBIE else f"process {pid}")
    except psutil.Error:
        return ""


def running() -> dict[int, str]:
    """Command lines of the processes that this one has started, or that were left to it."""
    found: dict[int, str] = {}
    for pid in _children(os.getpid()):
        command = _command(pid)
        if any(helper in command for helper in _HELPERS):
            found |= {child: _command(child) for child in _children(pid)}
        else:
            found[pid] = command
    return {pid: command for pid, command in found.items() if command}


def _strangers() -> dict[int, str]:
    return {pid: command for pid, command in running().items() if pid not in owners}


def end_all(pids: Iterable[int]) -> None:
    """With all that they have started."""
    family: list[psutil.Process] = []
    for pid in pids:
        try:
            process = psutil.Process(pid)
            family += [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    for process in family:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, 5.0)


def left_running(patience: float) -> str:
    """What is nobody's and still runs after so many seconds; it is ended then."""
    deadline = time.monotonic() + patience
    while left := _strangers():
        if time.monotonic() > deadline:
            end_all(left)
            return ", ".join(f"{pid} ({command})" for pid, command in left.items())
        time.sleep(0.01)
    return ""


def adopt_orphans() -> None:
    """What a child of ours leaves behind comes to us from now on, not to init. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
