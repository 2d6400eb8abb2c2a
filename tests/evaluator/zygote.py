"""Forks evaluators on request, from a process with one thread: the code host in small. Run as a script by `harness`."""

from __future__ import annotations

import json
import mmap
import os
import selectors
import socket
import sys


def main() -> None:
    """Answer each folder for the zoo with a pid and two descriptors; tell how each child ended."""
    from tests.evaluator.zoo import ALL

    from freshet.host.evaluator.main import run

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
            folder = control.recv(4096)
            if not folder:
                return
            ours, theirs = socket.socketpair()
            page_fd = os.memfd_create("page")
            os.ftruncate(page_fd, mmap.PAGESIZE)
            pid = os.fork()
            if pid == 0:
                control.close()
                ours.close()
                os.environ["ZOO"] = folder.decode()
                run(theirs, mmap.mmap(page_fd, mmap.PAGESIZE), ALL)
                os._exit(0)
            theirs.close()
            socket.send_fds(control, [json.dumps({"forked": pid}).encode()], [ours.fileno(), page_fd])
            ours.close()
            os.close(page_fd)
            watched.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)


if __name__ == "__main__":
    main()
