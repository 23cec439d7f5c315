"""Processes of a measurement: started on one core, looked at through /proc, ended by their id."""

import ctypes
import glob
import os
import signal
import socket
import subprocess
import time

PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None, use_errno=True)


def detach():
    """In the child: Ctrl-C is for the run, which then ends everything in order; nobody outlives it."""
    os.setsid()
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def pinned(core, argv, **kwargs):
    return subprocess.Popen(["taskset", "-c", str(core)] + argv, text=True, preexec_fn=detach, **kwargs)


def move(pid, core):
    subprocess.run(["taskset", "-a", "-p", "-c", str(core), str(pid)], check=False,
                   stdout=subprocess.DEVNULL)


def stop(process):
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def children(pid):
    found = []
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        with open(path) as f:
            found += [int(child) for child in f.read().split()]
    return found


def cpu_ns(pids):
    """CPU time of all threads that live now; ours start none while being measured."""
    total = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            with open(path) as f:
                total += int(f.read().split()[0])
    return total


def settle(pids):
    """CPU time once the processes have nothing left to do."""
    before = cpu_ns(pids)
    for _ in range(100):
        time.sleep(0.1)
        now = cpu_ns(pids)
        if now - before < 300_000 * len(pids):  # a heartbeat or two in 100 ms
            return now
        before = now
    return before


def pss_bytes(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            total += next(int(line.split()[1]) * 1024 for line in f if line.startswith("Pss:"))
    return total


def unsent_bytes(port):
    """What lies in the kernel for each connection accepted on a port that has not taken all: a list."""
    local, found = f":{port:04X}", []
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(path) as f:
            for line in f:
                words = line.split()
                if words[1].endswith(local) and words[3] == "01" and not words[4].startswith("00000000:"):
                    found.append(int(words[4].split(":")[0], 16))
    return found


def wait_for_port(process, port, log):
    for _ in range(200):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    log.seek(0)
    raise RuntimeError(f"no server on port {port}:\n{log.read()}")
