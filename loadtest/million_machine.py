"""What loadtest/million needs to know of the machine: whether it is large enough and what to change if
not, how processes are started so that none outlives us, and what they use."""

import ctypes
import glob
import itertools
import os
import platform
import re
import resource
import shutil
import signal
import socket
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PR_SET_PDEATHSIG = 1
PER_SOURCE = 8000  # devices of one source address: loadtest/net.h
SWARM = 15000  # devices of one process of the herd: loadtest/fleet.h
LIBC = ctypes.CDLL(None, use_errno=True)

# Shares of a node's descriptors up to which newcomers, and devices that resume, are surely let in
# (gateway/ladder.c), less what is not for devices.
NEWCOMERS, RESUMES, BESIDE = 0.975, 0.985, 100

# Bytes per device, with which a run is admitted: two sockets with their files, inodes, epoll items and
# hash entries in the kernel, what a node and the herd keep; and while a signal is under way, its frame
# in a receive buffer. Measured by this program; RESULTS.md has what a run really took.
DEVICE_BYTES = 9600
FRAME_BYTES = 1280
PROCESS_BYTES = 12 << 20


def die_with_us(number):
    """For the child, between fork and exec: it ends when we do, and Ctrl-C is for us alone."""
    parent = os.getpid()

    def prepare():
        LIBC.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
    return prepare


def spawn(argv, ends_with=signal.SIGKILL, **kwargs):
    return subprocess.Popen(argv, start_new_session=True, preexec_fn=die_with_us(ends_with), **kwargs)


def read_text(path, otherwise=""):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return otherwise


def sysctl(name):
    """Its numbers; empty where this kernel has none of that name."""
    return [int(x) for x in read_text("/proc/sys/" + name.replace(".", "/")).split()]


def meminfo():
    rows = (line.split() for line in read_text("/proc/meminfo").splitlines())
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) > 1}


def memory_left():
    return meminfo()["MemAvailable"]


def memory_used():
    """Of the whole machine, by whomever; files that are merely cached are not counted. MemAvailable would
    not do: the kernel's inodes and directory entries of open sockets count as reclaimable in it."""
    now = meminfo()
    return now["MemTotal"] - now["MemFree"] - now["Buffers"] - now["Cached"] + now["Shmem"]


def kernel_memory():
    """What the kernel keeps: sockets, files, inodes, epoll's items; bytes on their way; page tables."""
    now, pages = meminfo(), re.search(r"^TCP: .* mem (\d+)", read_text("/proc/net/sockstat"), re.M)
    return (now["Slab"] + now["PageTables"] + now["KernelStack"]
            + (int(pages.group(1)) if pages else 0) * os.sysconf("SC_PAGESIZE"))


def tcp_sockets():
    found = re.search(r"^TCP: inuse (\d+)", read_text("/proc/net/sockstat"), re.M)
    return int(found.group(1)) if found else 0


def machine_cpu_s():
    """Core seconds that the machine has worked, interrupts and all."""
    user, nice, system, _, _, irq, softirq = (int(x) for x in read_text("/proc/stat").split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def cpu_s(pids):
    """Of all their threads that live now, as the scheduler counts."""
    total = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            total += int(read_text(path, "0").split()[0])
    return total / 1e9


def pss(pids):
    """User space memory: shared pages are divided among those who share them."""
    total = 0
    for pid in pids:
        found = re.search(r"^Pss:\s+(\d+)", read_text(f"/proc/{pid}/smaps_rollup"), re.M)
        total += int(found.group(1)) * 1024 if found else 0
    return total


def children(pid):
    return [int(x) for path in glob.glob(f"/proc/{pid}/task/*/children") for x in read_text(path).split()]


PORTS = itertools.cycle(range(12000 + os.getpid() % 8000, 30000))


def free_port():
    """From below those that the kernel gives to who connects: between our look at a port and the server's bind, one of
    those may go to a device of another server."""
    for port in itertools.islice(PORTS, 18000):
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no port is free between 12000 and 30000")


def tracks_connections():
    """Does netfilter keep an entry for connections over loopback?"""
    def count():
        return (sysctl("net.netfilter.nf_conntrack_count") or [0])[0]
    before, sockets = count(), []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        try:
            for _ in range(8):
                sockets.append(socket.create_connection(listener.getsockname()))
            return count() >= before + 8
        finally:
            for s in sockets:
                s.close()


def descriptors():
    """That one process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def bytes_needed(args):
    processes = 2 * args.nodes + args.nodes * args.devices // SWARM
    return int(1.1 * (args.nodes * args.devices * (DEVICE_BYTES + FRAME_BYTES) + processes * PROCESS_BYTES))


def packets_dropped():
    """Since the machine was started: by a processor's queue of packets received, which on loopback is every
    packet's way (net.core.netdev_max_backlog), and by listening sockets that were full."""
    rows = read_text("/proc/net/softnet_stat").splitlines()
    names, numbers = [], []
    lines = read_text("/proc/net/netstat").splitlines()
    for head, body in zip(lines[::2], lines[1::2]):
        names, numbers = names + head.split()[1:], numbers + body.split()[1:]
    return {"queue": sum(int(row.split()[1], 16) for row in rows),
            "listen": int(dict(zip(names, numbers)).get("ListenDrops", 0))}


def wanted_settings(args):
    """{name: (value, why)} of the kernel's settings that are too small for this many on one machine."""
    total, wanted = args.nodes * args.devices, {}

    def at_least(name, value, why):
        now = sysctl(name)
        if now and now[0] < value:
            wanted[name] = (str(value), f"{name} is {now[0]}: {why}")
    at_least("net.core.netdev_max_backlog", max(1000, total),
             "both ends of each connection are here, so each packet waits in a processor's one queue; it overflows, "
             "and what was dropped is sent again after 0.2 s, 0.4 s, ... a minute")
    at_least("net.core.somaxconn", 4096, "the connections that may wait to be accepted; others try again after 1 s")
    at_least("net.ipv4.tcp_max_orphans", args.kill * args.devices * 2,
             "killed nodes leave more sockets than the kernel finishes in order")
    limits, want = sysctl("net.ipv4.tcp_mem"), 2 * total
    if limits and limits[1] < want:
        wanted["net.ipv4.tcp_mem"] = (f"{want} {want} {2 * want}", f"net.ipv4.tcp_mem is {limits[1]} pages: a page "
                                      "counts for each end that holds a signal; TCP under pressure drops packets")
    return wanted


class Settings:
    """Those of wanted_settings() for as long as this lives, and then as they were."""

    def __init__(self, wanted):
        self.before = {}
        try:
            for name, (value, _) in wanted.items():
                before = read_text(self.path(name)).strip()
                self.write(name, value)
                self.before[name] = before
        except OSError:
            self.restore()
            raise

    @staticmethod
    def path(name):
        return "/proc/sys/" + name.replace(".", "/")

    def write(self, name, value):
        with open(self.path(name), "w") as f:
            f.write(value)

    def restore(self):
        for name, value in self.before.items():
            self.write(name, value)
        self.before = {}


def obstacles(args, programs):
    """(what makes it impossible, what may spoil it), each a sentence that says what to do."""
    total, wrong, doubtful = args.nodes * args.devices, [], []
    limit = descriptors()
    room = int(limit * NEWCOMERS) - BESIDE
    for program in programs:
        if not os.access(program, os.X_OK):
            wrong.append(f"{program} is not there: cmake --preset release && ninja -C build/release")
    if shutil.which(os.environ.get("KICKOFF_REDIS_SERVER", "redis-server")) is None:
        wrong.append("there is no redis-server: install it")
    if args.devices > room:
        wrong.append(f"a node may open {limit} files, which is room for {room} devices, not {args.devices}: "
                     f"give --devices {room} and more --nodes, or raise it: ulimit -Hn "
                     f"{int((args.devices + BESIDE) / NEWCOMERS) + 1}")
    need, left = bytes_needed(args), memory_left()
    if need > left:
        wrong.append(f"{need / 1e9:.1f} GB of memory are needed and {left / 1e9:.1f} GB are free: "
                     f"give --nodes {max(1, int(args.nodes * left / need))}")
    files = sysctl("fs.file-max")
    if files and files[0] < 2 * total + 100000:
        wrong.append(f"the system may open {files[0]} files: sysctl -w fs.file-max={2 * total + 200000}")
    watches = sysctl("fs.epoll.max_user_watches")
    if watches and watches[0] < 2 * total + 100000:
        wrong.append(f"epoll may watch {watches[0]} files: sysctl -w fs.epoll.max_user_watches={2 * total + 200000}")
    ports = sysctl("net.ipv4.ip_local_port_range")
    if ports and ports[1] - ports[0] < PER_SOURCE * 1.2:
        wrong.append(f"{ports[1] - ports[0]} ports are too few for the {PER_SOURCE} devices of one source "
                     "address: sysctl -w net.ipv4.ip_local_port_range='10240 65000'")
    if os.getloadavg()[0] > 1:
        doubtful.append(f"others work on this machine, too (load {os.getloadavg()[0]:.1f}): times will tell of that")
    if tracks_connections() and sysctl("net.netfilter.nf_conntrack_max")[0] < total * 1.2:
        wrong.append("netfilter tracks connections over loopback, and has no room for so many: let it leave "
                     "lo alone (a rule with notrack), or sysctl -w net.netfilter.nf_conntrack_max="
                     f"{int(total * 1.5)}")
    if not args.prepare:
        for name, (value, why) in wanted_settings(args).items():
            doubtful.append(f"{why}: give --prepare, or sysctl -w {name}='{value}'")
    return wrong, doubtful


def circumstances(args, words):
    def git(*argv):
        done = subprocess.run(["git", "-C", ROOT, *argv], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def of(path, key):
        found = re.search(rf'^{key}\s*[=:]\s*"?([^"\n]*)', read_text(path), re.M)
        return found.group(1).strip() if found else "unknown"
    changed = "+changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return {
        "cpu": of("/proc/cpuinfo", "model name"), "cores": os.cpu_count(),
        "memory_gib": round(meminfo()["MemTotal"] / 2**30, 1), "kernel": platform.release(),
        "distro": of("/etc/os-release", "PRETTY_NAME"),
        "commit": (git("rev-parse", "--short=12", "HEAD") or "unknown") + changed,
        "date": time.strftime("%Y-%m-%d", time.gmtime()), "load_before": os.getloadavg()[0],
        "command": " ".join(["loadtest/million"] + words),
        "nodes": args.nodes, "devices_each": args.devices, "devices": args.nodes * args.devices,
        "kill": args.kill, "descriptors": descriptors(),
    }
