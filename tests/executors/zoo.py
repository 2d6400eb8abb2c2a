"""Bad steps, as a plugin; and how each is to end."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ANIMALS", "PLUGIN", "Animal"]

PLUGIN = """
import ctypes, os, resource, signal, subprocess, sys, threading, time
from freshet import job

@job
def healthy():
    return None

@job
def raises():
    raise ValueError("no good " * 1000)

@job(timeout="200ms")
def hangs():
    while True:
        time.sleep(600)

@job(timeout="200ms")
def spins():
    while True:
        pass

@job
def forks_twice():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
        os._exit(0)
    os.wait()

@job
def forks_twice_and_hangs():
    forks_twice.function()
    time.sleep(600)

@job
def ignores_sigterm():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    below = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", below], start_new_session=True)
    while True:
        time.sleep(600)

@job(memory="96MiB")
def eats_memory():
    held = []
    while True:
        held.append(b"x" * (1 << 20))

@job
def exits():
    os._exit(3)

@job
def leaves():
    sys.exit(3)

@job
def crashes():
    ctypes.string_at(0)

@job
def kills_itself():
    os.kill(os.getpid(), signal.SIGKILL)

@job
def fills_the_disk():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    with open(f"filled-{os.getpid()}", "wb") as file:
        os.unlink(file.name)
        while True:
            file.write(bytes(1 << 20))

@job
def prints_where_nothing_fits():
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    print("lost")
    raise ValueError("and so is this line")

@job
def prints_a_lot(megabytes: int = 100):
    line = "x" * 99
    for _ in range(megabytes * 10_000):
        print(line)
    print("the last line")

@job
def writes_a_lot(megabytes: int = 100):
    lines = (b"x" * 99 + b"\\\\n") * 100
    for _ in range(megabytes * 100):
        os.write(1, lines)
    os.write(1, b"the last line\\\\n")

@job
def writes_short_lines(megabytes: int = 100):
    lines = b"y\\\\n" * 5000
    for _ in range(megabytes * 100):
        os.write(2, lines)
    os.write(2, b"the last line\\\\n")

@job(timeout="500ms")
def writes_without_an_end():
    lines = b"y\\n" * 5000
    while True:
        os.write(1, lines)

@job
def prints_binary():
    for _ in range(50):
        os.write(1, os.urandom(1 << 12))
        sys.stdout.buffer.write(os.urandom(1 << 12))
        print(os.urandom(1 << 10).decode("latin-1"), "\\\\ud800")

@job
def leaves_threads():
    for _ in range(8):
        threading.Thread(target=time.sleep, args=(600,)).start()

@job
def closes_everything():
    os.closerange(0, 1000)
""".replace("\\\\", "\\")


@dataclass(frozen=True)
class Animal:
    """`outcome`, and the error's type (None: none is looked for). `canceled`: somebody has to. `loud`: it takes
    `megabytes`."""

    name: str
    outcome: str
    error: str | None = None
    canceled: bool = False
    loud: bool = False


ANIMALS = (
    Animal("raises", "failed", "ValueError"),
    Animal("hangs", "failed", "TimeoutError"),
    Animal("spins", "failed", "TimeoutError"),
    Animal("forks_twice", "succeeded"),
    Animal("forks_twice_and_hangs", "canceled", canceled=True),
    Animal("ignores_sigterm", "canceled", canceled=True),
    Animal("eats_memory", "failed", "MemoryError"),
    Animal("exits", "died", "WorkerDied"),
    Animal("leaves", "failed", "SystemExit"),
    Animal("crashes", "died", "WorkerDied"),
    Animal("kills_itself", "died", "WorkerDied"),
    Animal("fills_the_disk", "failed", "OSError"),
    Animal("prints_where_nothing_fits", "failed", "ValueError"),
    Animal("prints_a_lot", "succeeded", loud=True),
    Animal("writes_a_lot", "succeeded", loud=True),
    Animal("writes_short_lines", "succeeded", loud=True),
    Animal("writes_without_an_end", "failed", "TimeoutError"),
    Animal("prints_binary", "succeeded"),
    Animal("leaves_threads", "succeeded"),
    Animal("closes_everything", "died", "WorkerDied"),
)
