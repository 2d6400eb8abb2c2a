"""Forks evaluators on request, from a process with one thread: the code host in small. Run as a script by `harness`."""

from __future__ import annotations

import json
import mmap
import os
import selectors
import socket
import sys


def main() -> None:
    """Answer each label with a pid and two descriptors; tell how each child ended."""
    from freshet.host.evaluator.main import run
    from tests.evaluator.zoo import ALL

    control = socket.socket(fileno=int(sys.argv[1]))
    watched = selectors.DefaultSelector()
    watched.register(control, selectors.EVENT_READ)
    while True:
        for key, _ in watched.select():
            if key.data is not None:
                watched.unregister(key.fd)
                os.close(key.fd)
                status = os.waitstatus_to_exitcode(os.waitpid(key.data, 0)[1])
                control.send(json.dumps({"ended": key.data, "status": status}).encode())
                continue
            if not control.recv(4096):
                return
            ours, theirs = socket.socketpair()
            page_fd = os.memfd_create("page")
            os.ftruncate(page_fd, mmap.PAGESIZE)
            pid = os.fork()
            if pid == 0:
                control.close()
                ours.close()
                run(theirs, mmap.mmap(page_fd, mmap.PAGESIZE), ALL)
                os._exit(0)
            theirs.close()
            socket.send_fds(control, [json.dumps({"forked": pid}).encode()], [ours.fileno(), page_fd])
            ours.close()
            os.close(page_fd)
            watched.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)


if __name__ == "__main__":
    main()
