"""Bad steps as programs."""

__all__ = ["PLUGIN"]

PLUGIN = r"""
import sys
from freshet import Command, job

def shell(name, text, *arguments, **given):
    def program(): ...
    return job(name=name, executor=Command(["/bin/sh", "-c", text, name, *arguments]), **given)(program)

def python(name, text, **given):
    def program(): ...
    return job(name=name, executor=Command([sys.executable, "-c", text]), **given)(program)

@job
def healthy():
    return None

healthy_here = shell("healthy_here", "exit 0")
raises = shell("raises", "echo no good >&2; exit 1")
hangs = shell("hangs", "sleep 600", timeout="200ms")
spins = shell("spins", "while :; do :; done", timeout="200ms")
forks_twice = shell("forks_twice", "(setsid sh -c 'trap \"\" TERM; sleep 600; sleep 600' &) ; exit 0")
forks_twice_and_hangs = shell("forks_twice_and_hangs", "(setsid sh -c 'trap \"\" TERM; sleep 600; :' &) ; sleep 600")
ignores_sigterm = shell("ignores_sigterm", "trap '' TERM INT HUP; while :; do sleep 600; done")
blocks_signals = python(
    "blocks_signals",
    "import signal, time; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); time.sleep(600)",
)
eats_memory = python("eats_memory", "held = []\nwhile True: held.append(b'x' * (1 << 20))", memory="96MiB")
crashes = shell("crashes", "kill -SEGV $$")
kills_itself = shell("kills_itself", "kill -KILL $$")

@job(executor=Command(["/bin/sh", "-c", "exec head -c 8000000 /dev/zero > {params.folder}/filled", "fill"]))
def fills_the_disk(folder: str): ...

@job(executor=Command([
    "/bin/sh", "-c", "ulimit -f 100; head -c 8000000 /dev/zero > filled; status=$?; rm filled; exit $status", "fill",
]))
def fills_what_it_may(): ...

@job(executor=Command([
    "/bin/sh", "-c", "yes " + "x" * 99 + " | head -c {params.megabytes}000000; echo the last line", "write",
]))
def writes_a_lot(megabytes: int): ...

writes_without_an_end = shell("writes_without_an_end", "yes", timeout="500ms")
prints_binary = shell("prints_binary", "head -c 400000 /dev/urandom")
reports_binary = shell("reports_binary", "head -c 400000 /dev/urandom >&3")
reports_without_an_end = shell("reports_without_an_end", "yes >&3", timeout="500ms")
closes_everything = shell("closes_everything", "exec 0<&- 1>&- 2>&- 3>&-; exit 0")
closes_and_hangs = shell("closes_and_hangs", "exec 0<&- 1>&- 2>&- 3>&-; sleep 600", timeout="200ms")
"""
