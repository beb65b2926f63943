"""Stands between the gateway and ComfyUI, so that neither outlives the gateway.

Run as a program, `python -I -S guardian.py FD COMMAND...`, with the standard library only: it is
resident as long as ComfyUI is. FD is one end of a socket pair. The guardian writes the pid of
COMMAND to it; when it reads the end of it, the gateway is gone or wants everything killed.
SIGTERM and SIGINT are passed on to COMMAND's process group. The guardian ends as COMMAND did,
after killing whatever COMMAND left behind.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PASSED_ON = (signal.SIGTERM, signal.SIGINT)


def main(descriptor: int, command: list[str]) -> int:
    """Run the command until it ends, or the gateway does; return its wait status."""
    # A descendant that lost its parent, in whatever session, becomes ours, so it can be found.
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    lifeline = _alone(descriptor)
    wakeup, wakeup_writer = os.pipe()
    for end in (wakeup, wakeup_writer):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wakeup_writer, warn_on_full_buffer=False)
    for number in (*_PASSED_ON, signal.SIGCHLD):
        signal.signal(number, _noted)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    child = _launch(command)
    os.write(lifeline, f"{child}\n".encode())
    status = _attend(child, lifeline, wakeup)
    ended = _end_descendants(child)
    return ended if status is None else status


def _alone(descriptor: int) -> int:
    """Keep this descriptor and the standard ones, and let none pass on to the command."""
    # An inherited one passes on; a duplicate does not. uvloop leaves others open, too.
    lifeline = os.dup(descriptor)
    os.closerange(3, lifeline)
    os.closerange(lifeline + 1, os.sysconf("SC_OPEN_MAX"))
    return lifeline


def _attend(child: int, lifeline: int, wakeup: int) -> int | None:
    """Return the child's wait status, or None when the gateway let go first."""
    poll = select.poll()
    for descriptor in (lifeline, wakeup):
        poll.register(descriptor, select.POLLIN)
    while True:
        ready = [descriptor for descriptor, _ in poll.poll()]
        if wakeup in ready:
            for number in os.read(wakeup, 512):
                if number in _PASSED_ON:
                    _signal_group(child, number)
            status = _reap(child)
            if status is not None:
                return status
        if lifeline in ready and not _is_held(lifeline):
            return None


def _is_held(lifeline: int) -> bool:
    try:
        return bool(os.read(lifeline, 512))
    except OSError:
        return False


def _launch(command: list[str]) -> int:
    guardian = os.getpid()
    # Held back until the child is on its own: a SIGTERM in between would be swallowed.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return child
    try:
        _become(command, guardian, blocked)
    except OSError as failure:
        os.write(2, f"Cannot run {command[0]}: {failure.strerror}\n".encode())
    finally:
        os._exit(127)


def _become(command: list[str], guardian: int, mask: set[int | signal.Signals]) -> None:
    os.setsid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guardian:
        return
    signal.set_wakeup_fd(-1)
    for number in (*_PASSED_ON, signal.SIGCHLD, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.execvp(command[0], command)  # noqa: S606 -- the operator's own command


def _signal_group(child: int, number: int) -> None:
    for send in (os.killpg, os.kill):
        try:
            send(child, number)
        except ProcessLookupError:
            continue  # it has not made its group yet, or is gone
        return


def _reap(child: int) -> int | None:
    """Collect whatever ended; return the child's wait status when it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            found = status


def _end_descendants(child: int) -> int:
    """Kill until nothing is left; return the child's wait status, SIGKILL if it is unknown."""
    status: int | None = None
    pause = 0.002
    _kill(os.killpg, child)
    while True:
        found = _reap(child)
        status = found if status is None else status
        left = _descendants(os.getpid())
        if not left:
            return signal.SIGKILL if status is None else status
        for pid in left:
            _kill(os.kill, pid)
        time.sleep(pause)
        pause = min(pause * 2, 0.25)


def _kill(send: Callable[[int, int], None], pid: int) -> None:
    try:
        send(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _descendants(root: int) -> list[int]:
    parents = _parents()
    found, look = [], [root]
    while look:
        above = look.pop()
        below = [pid for pid, parent in parents.items() if parent == above]
        found += below
        look += below
    return found


def _parents() -> dict[int, int]:
    if not os.path.isdir("/proc/self"):
        return _parents_by_ps()
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    # The name, in parentheses, may itself hold spaces and parentheses.
                    parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                continue
    return parents


def _parents_by_ps() -> dict[int, int]:
    with os.popen("ps -A -o pid=,ppid=") as listing:  # noqa: S605, S607
        rows = [line.split() for line in listing]
    # ps itself is our child, and gone by now.
    return {int(pid): int(parent) for pid, parent in rows if _exists(int(pid))}


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _noted(*_: object) -> None:
    """Let the signal reach the wake-up descriptor, and do nothing else."""


def _end_like(status: int) -> None:
    """End as the child did, by the same signal if it was one."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the child dumped its own core
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    _end_like(main(int(sys.argv[1]), sys.argv[2:]))
