"""What one round does with one server, and the load that does it. Each measurement begins with a fresh server."""

import json
import os
import statistics
import subprocess

from process import cpu_ns, pinned, pss_bytes, settle, unsent_bytes

WAIT_MS = 60000
SILENT_PAIRS = 3


class Driver:
    """loadtest/bench/driver.c: one command a line, one answer a line."""

    def __init__(self, args, greeting_frames, ports):
        self.process = pinned(args.load_core, [os.path.join(args.bin, "kickoff-bench-driver"),
                                               str(greeting_frames)] + [str(port) for port in ports],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the driver ended early")
        return json.loads(line)

    def ask(self, line):
        self.tell(line)
        return self.answer()

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Bench:
    """One server with its driver; closes both."""

    def __init__(self, kind, args):
        self.server = kind(args)
        try:
            self.driver = Driver(args, self.server.greeting_frames, [self.server.port])
        except BaseException:
            self.server.close()
            raise

    def __enter__(self):
        return self.server, self.driver

    def __exit__(self, *_):
        self.driver.close()
        self.server.close()


def connect(server, driver, many, window):
    """Who is lost makes a peer's figure worse, and is told beside it; ours must not lose anybody."""
    answer = driver.ask(f"connect {many} {window}")
    if answer["ready"] == 0 or (server.must_be_whole and answer["ready"] != many):
        raise RuntimeError(f"{server.name}: {answer['ready']} of {many} devices came in: {answer}")
    return answer


def broadcast(server, driver):
    driver.tell(f"wait 1 {WAIT_MS}")
    server.broadcast()
    answer = driver.answer()
    if answer["complete"] != answer["devices"] or answer["devices"] == 0:
        raise RuntimeError(f"{server.name}: {answer['complete']} of {answer['devices']} devices were told: {answer}")
    return answer


def steady(kind, args):
    """Memory when they come for the first time, handshake when they come again: by then a server has what memory it
    needs and Node has compiled what it runs; then broadcasts."""
    with Bench(kind, args) as (server, driver):
        driver.ask("connect 1 1")  # the first costs page faults of code, which is not what a device costs
        driver.ask("close")
        settle(server.pids)
        memory = pss_bytes(server.owners)
        connected = connect(server, driver, args.devices, args.window)
        settle(server.pids)
        result = {"memory_b": (pss_bytes(server.owners) - memory) / connected["ready"]}
        driver.ask("close")
        before = settle(server.pids)
        connected = connect(server, driver, args.devices, args.window)
        result["handshake_us"] = (settle(server.pids) - before) / connected["ready"] / 1e3
        result["handshake_lost"] = connected["lost"]
        before, redis = settle(server.pids), server.redis_ns()
        for _ in range(args.broadcasts):
            waited = broadcast(server, driver)
        result["broadcast_us"] = (cpu_ns(server.pids) - before) / args.broadcasts / waited["devices"] / 1e3
        if server.redis_ns():
            result["redis_broadcast_ms"] = (server.redis_ns() - redis) / args.broadcasts / 1e6
        return result


def storm(kind, args):
    """All at once: how long until the last one is in that ever comes in."""
    with Bench(kind, args) as (server, driver):
        connected = connect(server, driver, args.devices, args.devices)
        return {"storm_s": connected["seconds"], "storm_lost": connected["lost"],
                "storm_refusals": connected["refusals"]}


def silent(kind, args):
    """Sockets that say nothing must make handshakes neither dearer nor rarer. Rates are of a clock on the wall, so
    several pairs are compared."""
    many = args.devices - args.silent
    cost, lost, rates = [], [], []
    with Bench(kind, args) as (server, driver):
        connect(server, driver, many, args.window)  # memory and code are there from now on
        for _ in range(SILENT_PAIRS):
            driver.ask("close")
            settle(server.pids)
            without = connect(server, driver, many, args.window)
            driver.ask("close")
            settle(server.pids)
            driver.ask(f"silent {args.silent}")
            before = settle(server.pids)
            with_them = connect(server, driver, many, args.window)
            # At once: in a few seconds a server will close the silent ones.
            cost.append((cpu_ns(server.pids) - before) / with_them["ready"] / 1e3)
            lost.append(with_them["lost"])
            rates.append([answer["ready"] / answer["seconds"] for answer in (without, with_them)])
    return {"silent_us": statistics.median(cost), "silent_lost": max(lost),
            "rate_without": statistics.median(rate[0] for rate in rates),
            "rate_with": statistics.median(rate[1] for rate in rates),
            "silent_rate": statistics.median(rate[1] / rate[0] for rate in rates)}


def p99(server, driver, broadcasts):
    broadcast(server, driver)
    return statistics.median(broadcast(server, driver)["p99_ms"] for _ in range(broadcasts))


def stuck(kind, args):
    """One reader in ten reads nothing, and its socket is full: the others' p99 against that without it."""
    few = args.devices // 10
    others = args.devices - few
    with Bench(kind, args) as (server, driver):
        connect(server, driver, others, args.window)
        without = p99(server, driver, args.broadcasts)
    with Bench(kind, args) as (server, driver):
        there = driver.ask(f"stuck {few}")["ready"]
        connect(server, driver, 1, 1)  # tells when each of the broadcasts that fill the sockets is out
        for _ in range(args.fill):
            broadcast(server, driver)
        blocked = unsent_bytes(server.port)
        connect(server, driver, others - 1, args.window)
        with_them = p99(server, driver, args.broadcasts)
        left = unsent_bytes(server.port)
    return {"stuck_p99": with_them / without, "p99_without_ms": without, "p99_with_ms": with_them,
            "stuck_in": there, "stuck_blocked": len(blocked), "stuck_left": len(left),
            "stuck_unsent_b": statistics.median(blocked) if blocked else 0}


def prefetch(kind, args):
    with Bench(kind, args) as (server, driver):
        driver.ask(f"prefetch {args.connections} {args.connections} {server.path}")
        driver.ask("close")
        before = settle(server.pids)
        fetched = driver.ask(f"prefetch {args.requests} {args.connections} {server.path}")
        if fetched["done"] != args.requests or fetched["bad"]:
            raise RuntimeError(f"{kind.name}: prefetch: {fetched}")
        return {"prefetch_us": (cpu_ns(server.pids) - before) / args.requests / 1e3}


def frame_sizes(kind, args):
    """What kickoffd really sends: hello, reset and signal."""
    with Bench(kind, args) as (server, driver):
        connected = driver.ask("connect 1 1")
        return connected["hello_bytes"], connected["reset_bytes"], broadcast(server, driver)["signal_bytes"]


MEASUREMENTS = [("devices", steady), ("devices", storm), ("devices", silent), ("devices", stuck),
                ("prefetch", prefetch)]
