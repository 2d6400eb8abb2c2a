"""Bad steps as coroutines, which share one loop and one process with healthy ones."""

__all__ = ["PLUGIN"]

PLUGIN = r"""
import asyncio, ctypes, os, signal, stat, subprocess, sys, threading, time
from freshet import Inline, job

def bad(function=None, stall="2s", **given):
    if function is None:
        return lambda function: bad(function, stall=stall, **given)
    return job(executor=Inline(stall=stall), **given)(function)

@job
def healthy():
    return None

@bad
async def healthy_here():
    await asyncio.sleep(0)

@bad
async def raises():
    raise ValueError("no good " * 1000)

@bad(timeout="200ms")
async def hangs():
    await asyncio.sleep(600)

@bad(stall="100ms")
async def spins():
    while True:
        pass

@bad(stall="100ms")
async def spins_on():
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass

@bad(stall="100ms")
async def blocks():
    time.sleep(600)

@bad
async def forks_twice():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
        os._exit(0)
    os.wait()

@bad
async def forks_twice_and_hangs():
    await forks_twice.function()
    await asyncio.sleep(600)

@bad
async def ignores_its_end():
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass

@bad(stall="100ms")
async def blocks_signals():
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        time.sleep(600)

@bad
async def exits():
    os._exit(3)

@bad
async def leaves():
    sys.exit(3)

@bad
async def crashes():
    ctypes.string_at(0)

@bad
async def kills_itself():
    os.kill(os.getpid(), signal.SIGKILL)

@bad
async def fills_the_disk(folder: str):
    with open(f"{folder}/filled-{os.getpid()}", "wb", buffering=0) as file:
        os.unlink(file.name)
        while True:
            if file.write(bytes(1 << 20)) < 1 << 20:
                file.write(b"and one more")

@bad
async def prints_a_lot(megabytes: int):
    line = "x" * 99
    for number in range(megabytes * 10_000):
        print(line)
        if number % 100 == 0:
            await asyncio.sleep(0)
    print("the last line")

@bad
async def prints_binary():
    for _ in range(50):
        os.write(1, os.urandom(1 << 12))
        print(os.urandom(1 << 10).decode("latin-1"), "\ud800")
        await asyncio.sleep(0)

@bad
async def leaves_threads():
    for _ in range(8):
        threading.Thread(target=time.sleep, args=(600,)).start()

@bad
async def leaves_tasks():
    for _ in range(100):
        asyncio.create_task(asyncio.sleep(600))

@bad
async def writes_on_sockets():
    for fd in range(3, 200):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.write(fd, os.urandom(1 << 16))
        except OSError:
            pass
    await asyncio.sleep(600)

@bad
async def closes_everything():
    threading.Thread(target=time.sleep, args=(600,)).start()  # which an orderly end would wait for
    os.closerange(0, 1000)
"""
