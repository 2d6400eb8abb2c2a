"""Bad steps as functions of a plugin. `EXECUTOR` stands for the expression of their executor."""

__all__ = ["PLUGIN"]

PLUGIN = r"""
import ctypes, os, resource, signal, stat, subprocess, sys, threading, time
from freshet import Dask, Process, job

def bad(function=None, **given):
    if function is None:
        return lambda function: bad(function, **given)
    return job(executor=EXECUTOR, **given)(function)

@job
def healthy():
    return None

@bad
def healthy_here():
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert os.umask(0o22) == 0o22
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0

@bad
def raises():
    raise ValueError("no good " * 1000)

@bad(timeout="200ms")
def hangs():
    while True:
        time.sleep(600)

@bad(timeout="200ms")
def spins():
    while True:
        pass

@bad
def forks_twice():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
        os._exit(0)
    os.wait()

@bad
def forks_twice_and_hangs():
    forks_twice.function()
    print("begun")
    time.sleep(600)

@bad
def ignores_sigterm():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    below = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", below], start_new_session=True)
    print("begun")
    while True:
        time.sleep(600)

@bad
def blocks_signals():
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    print("begun")
    while True:
        time.sleep(600)

@bad
def leaves_signals_blocked():
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    os.umask(0o777)
    signal.setitimer(signal.ITIMER_REAL, 60)

if not isinstance(EXECUTOR, Dask):
    @bad(memory="96MiB")
    def eats_memory():
        held = []
        while True:
            held.append(b"x" * (1 << 20))

@bad
def exits():
    os._exit(3)

@bad
def leaves():
    sys.exit(3)

@bad
def crashes():
    ctypes.string_at(0)

@bad
def kills_itself():
    os.kill(os.getpid(), signal.SIGKILL)

@bad
def fills_the_disk(folder: str):
    if not folder:
        folder = "."
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with open(f"{folder}/filled-{os.getpid()}", "wb", buffering=0) as file:
        os.unlink(file.name)
        while True:
            if file.write(bytes(1 << 20)) < 1 << 20:
                file.write(b"and one more")

@bad
def prints_where_nothing_fits():
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    print("lost")
    raise ValueError("and so is this line")

@bad
def prints_a_lot(megabytes: int):
    line = "x" * 99
    for _ in range(megabytes * 10_000):
        print(line)
    print("the last line")

@bad
def writes_a_lot(megabytes: int):
    lines = (b"x" * 99 + b"\n") * 100
    for _ in range(megabytes * 100):
        os.write(1, lines)
    os.write(1, b"the last line\n")

@bad
def writes_short_lines(megabytes: int):
    lines = b"y\n" * 5000
    for _ in range(megabytes * 100):
        os.write(2, lines)
    os.write(2, b"the last line\n")

@bad(timeout="500ms")
def writes_without_an_end():
    lines = b"y\n" * 5000
    while True:
        os.write(1, lines)

@bad
def prints_binary():
    for _ in range(50):
        os.write(1, os.urandom(1 << 12))
        sys.stdout.buffer.write(os.urandom(1 << 12))
        print(os.urandom(1 << 10).decode("latin-1"), "\ud800")

@bad
def leaves_threads():
    for _ in range(8):
        threading.Thread(target=time.sleep, args=(600,)).start()

@bad
def closes_everything():
    threading.Thread(target=time.sleep, args=(600,)).start()  # which an orderly end would wait for
    os.closerange(0, 1000)

@bad
def writes_on_sockets():
    for fd in range(3, 200):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.write(fd, os.urandom(1 << 16))
        except OSError:
            pass
    time.sleep(600)

@bad
def closes_its_output():
    os.closerange(0, 3)
"""
