"""Does a device cost the same when there are more of them, and when there are more nodes? Nodes are real kickoffd
processes, for the second question on one Redis; the CPU of all of them is counted, per device of all of them."""

import os
import shutil
import subprocess
import tempfile
import time

from process import cpu_ns, pinned, settle, stop
from rounds import Driver, broadcast, connect
from servers import SBIN, Node

SESSIONS = (1000, 4000, 16000)
NODES = (1, 10, 50)
IDLE_S = 2
PER_TURN = 50  # connections that each node gets in turn, as in driver.c


class Redis:
    """One for all nodes, on the load's core, set up as the nodes' durability asks for."""

    def __init__(self, args):
        self.dir = tempfile.mkdtemp(prefix="kickoff-bench-redis-")
        self.path = os.path.join(self.dir, "redis.sock")
        self.process = pinned(args.load_core, [
            shutil.which("redis-server", path=SBIN) or shutil.which("valkey-server", path=SBIN),
            "--port", "0", "--unixsocket", self.path, "--dir", self.dir, "--save", "", "--appendonly", "yes",
            "--appendfsync", "always", "--no-appendfsync-on-rewrite", "no", "--maxmemory-policy", "noeviction"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            if os.path.exists(self.path):
                return
            time.sleep(0.05)
        self.close()
        raise RuntimeError("redis-server did not start")

    def close(self):
        stop(self.process)
        shutil.rmtree(self.dir, ignore_errors=True)


class Fleet:
    """Nodes on one Redis and their devices, 50 to each node in turn. Looks like one server to rounds.py."""

    name, must_be_whole = "kickoffd", True

    def __init__(self, args, nodes):
        self.nodes, self.driver, self.redis = [], None, Redis(args)
        try:
            for _ in range(nodes):
                self.nodes.append(Node(args, redis=f"unix://{self.redis.path}"))
            for node in self.nodes:
                node.wait_ready()
            self.nodes[0].make_event(args)
            self.pids = [node.process.pid for node in self.nodes]
            self.driver = Driver(args, Node.greeting_frames, [node.port for node in self.nodes])
        except BaseException:
            self.close()
            raise

    def broadcast(self):
        self.nodes[0].broadcast()

    def close(self):
        if self.driver:
            self.driver.close()
        for node in self.nodes:  # all at once: each takes a moment to say goodbye
            node.process.terminate()
        for node in self.nodes:
            node.close()
        self.redis.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def idle_rate(pids):
    """What nodes do without devices (each asks for the log's head once a second): CPU nanoseconds per second."""
    before = settle(pids)
    began = time.monotonic()
    time.sleep(IDLE_S)
    return (cpu_ns(pids) - before) / (time.monotonic() - began)


def measure(args, nodes, devices):
    """Idle work goes on meanwhile, and is no device's: it is taken off, and told by itself."""
    with Fleet(args, nodes) as fleet:
        fleet.driver.ask(f"connect {PER_TURN * nodes} 64")  # everybody has served some: code and memory are there
        fleet.driver.ask("close")
        idle = idle_rate(fleet.pids)
        spent = done = 0
        while done < max(devices, args.handshakes):
            if done:
                fleet.driver.ask("close")
            before, began = settle(fleet.pids), time.monotonic()
            connect(fleet, fleet.driver, devices, args.window)
            spent += settle(fleet.pids) - before - idle * (time.monotonic() - began)
            done += devices
        before, began = settle(fleet.pids), time.monotonic()
        for _ in range(args.broadcasts):
            broadcast(fleet, fleet.driver)
        told = cpu_ns(fleet.pids) - before - idle * (time.monotonic() - began)
        return {"handshake_us": spent / done / 1e3, "broadcast_us": told / args.broadcasts / devices / 1e3,
                "idle_ms": idle / nodes / 1e6}


def places(args):
    """(axis, place, nodes, devices) of everything that is measured in a round."""
    small = 10 if args.quick else 1
    return ([("sessions", many // small, 1, many // small) for many in SESSIONS]
            + [("nodes", nodes, nodes, nodes * args.per_node) for nodes in (NODES[:2] if args.quick else NODES)])


def run(args, say):
    """Values by axis, place and key: one number per round."""
    values = {"sessions": {}, "nodes": {}}
    todo = places(args)
    for number in range(args.rounds):
        for axis, place, nodes, devices in todo if number % 2 == 0 else todo[::-1]:
            began = time.monotonic()
            result = measure(args, nodes, devices)
            say(f"round {number + 1}/{args.rounds} {nodes} node{'s' if nodes > 1 else ''}, {devices} devices: "
                + " ".join(f"{key}={value:.2f}" for key, value in result.items())
                + f"  ({time.monotonic() - began:.0f} s)")
            for key, value in result.items():
                values[axis].setdefault(place, {}).setdefault(key, []).append(value)
    return values
