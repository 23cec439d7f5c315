"""The parts that loadtest/million is played with: nodes, as many of the floor, the herd, and a device of
its own that looks at frames."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid

import million_machine as machine

EVENT = "million"
READY_S, CHANGE_S = 120, 60
SAMPLE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 1.3


class Failed(Exception):
    """What is wrong, for the person at the terminal."""


class Later(Failed):
    """The outcome is unknown, or nobody can answer now: the same may be asked again."""


def ask(url, method="GET", body=None, timeout=30, key=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={
        "Content-Type": "application/json", "Idempotency-Key": key or f"million-{uuid.uuid4()}"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        raise (Later if error.code >= 500 else Failed)(
            f"{method} {url}: {error.code} {error.read().decode(errors='replace')}") from error
    except OSError as error:
        raise Later(f"{method} {url}: {error}") from error


class Probe:
    """One device of our own, whose frames the floor will send: it reads them as they are."""

    def __init__(self, port, query=""):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.bytes = b""
        self.socket.sendall((f"GET /v1/connect?device=herd-00000000-000000000&cohort=default{query} HTTP/1.1\r\n"
                             f"Host: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {SAMPLE_KEY}\r\n"
                             "Sec-WebSocket-Protocol: kickoff.v1.json\r\n\r\n").encode())
        while b"\r\n\r\n" not in self.bytes:
            self.read()
        head, self.bytes = self.bytes.split(b"\r\n\r\n", 1)
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise Failed(f"a node refused the probe: {head.decode(errors='replace')}")

    def read(self):
        more = self.socket.recv(65536)
        if not more:
            raise Failed("a node closed the probe's connection")
        self.bytes += more

    def frame(self):
        """The whole of the next one, and its message."""
        while True:
            if len(self.bytes) >= 4:
                size, start = self.bytes[1], 2
                if size == 126:
                    size, start = int.from_bytes(self.bytes[2:4], "big"), 4
                if len(self.bytes) >= start + size:
                    whole, self.bytes = self.bytes[:start + size], self.bytes[start + size:]
                    return whole, json.loads(whole[start:])
            self.read()


class Servers:
    """What the herd connects to: urls(), pids(), start() -> seconds until it was acknowledged."""

    def __init__(self, args):
        self.args, self.processes = args, []

    def pids(self):
        return [p.pid for p in self.processes if p.poll() is None]

    def urls(self):
        return ",".join(f"ws://127.0.0.1:{port}" for port in self.ports)

    def close(self):
        """At once: a million goodbyes prove nothing."""
        for p in self.processes:
            if p.poll() is None:
                p.kill()
        for p in self.processes:
            p.wait()


class Nodes(Servers):
    """Nodes on the private Redis of one more, the keeper, which holds no devices and is never harmed."""
    name = "kickoffd"

    def __init__(self, args, scratch):
        super().__init__(args)
        self.scratch, self.keeper = scratch, None
        ports = [machine.free_port() for _ in range(2 * args.nodes + 2)]
        self.keeper_port, keeper_admin = ports[:2]
        self.ports, self.admins = ports[2:2 + args.nodes], ports[2 + args.nodes:]
        self.admin = f"http://127.0.0.1:{keeper_admin}"
        redis = f"unix://{scratch}/keeper/redis.sock"
        try:
            self.keeper = self.run("keeper", self.keeper_port, keeper_admin, [])
            self.wait_ready(self.keeper, "keeper", keeper_admin)
            for i, (port, admin) in enumerate(zip(self.ports, self.admins)):
                self.processes.append(self.run(f"node-{i + 1}", port, admin, ["--redis", redis]))
            for i, (process, admin) in enumerate(zip(self.processes, self.admins)):
                self.wait_ready(process, f"node-{i + 1}", admin)
        except BaseException:
            self.close()
            raise

    def run(self, name, port, admin, more):
        with open(os.path.join(self.scratch, name + ".log"), "w") as log:
            return machine.spawn(
                [os.path.join(self.args.bin, "kickoffd"), "--listen", f"127.0.0.1:{port}", "--admin",
                 f"127.0.0.1:{admin}", "--name", name, "--data", os.path.join(self.scratch, name),
                 "--workers", "1", "--ping", "1h", "--dead-after", "10m", "--lifetime", "4h", "--ack-spread", self.args.ack_spread,
                 *more, *self.args.node_option],
                ends_with=signal.SIGTERM, stdout=log, stderr=log)

    def wait_ready(self, process, name, admin):
        until = time.monotonic() + READY_S
        while True:
            try:
                ask(f"http://127.0.0.1:{admin}/readyz", timeout=5)
                return
            except Failed:
                if process.poll() is not None or time.monotonic() > until:
                    log = machine.read_text(os.path.join(self.scratch, name + ".log"))
                    raise Failed(f"{name} is not ready; its log ends: ...{log[-2000:]}") from None
                time.sleep(0.05)

    def change(self, path, body):
        """Once, whatever happens on the way: asked again under the same key."""
        until, key = time.monotonic() + CHANGE_S, f"million-{uuid.uuid4()}"
        while True:
            try:
                return json.loads(ask(f"{self.admin}/v1/events{path}", "POST", body, key=key))
            except Later:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def create(self):
        made = self.change("", {"id": EVENT, "title": "One million", "starts_at": "2030-01-01T00:00:00Z"})
        return made["event"]["version"]

    def wait_event(self):
        """Until each node knows it: nobody is to be told of its making."""
        until = time.monotonic() + READY_S
        for port in [self.keeper_port] + self.ports:
            while not json.loads(ask(f"http://127.0.0.1:{port}/v1/events"))["events"]:
                if time.monotonic() > until:
                    raise Failed("not all nodes know of the event")
                time.sleep(0.02)

    def start(self):
        return self.change(f"/{EVENT}/start", {})

    def metrics(self, i):
        """(devices, let in, refused) so far."""
        text = ask(f"http://127.0.0.1:{self.admins[i]}/metrics", timeout=5).decode()

        def total(name):
            return sum(float(x) for x in re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)", text, re.M))
        return (total("kickoff_devices"), total("kickoff_connects_total"), total("kickoff_refused_total"))

    def report(self, seq, total):
        """As `kickoff report` tells it, as soon as all `total` have acknowledged: nodes write their parts
        twice a second. A node that was killed never writes one, so it may never call itself complete."""
        until = time.monotonic() + self.args.timeout
        while True:
            done = subprocess.run(
                [os.path.join(self.args.bin, "kickoff"), "report", str(seq), "--json", "--admin", self.admin],
                capture_output=True, text=True, check=False, timeout=60)
            if done.returncode != 0:
                raise Failed(f"kickoff report {seq}: {done.stderr}")
            report = json.loads(done.stdout).get("report")
            if report and report["acked"] >= total:
                return report
            if time.monotonic() > until:
                return report or {"connected": 0, "written": 0, "acked": 0}
            time.sleep(0.5)

    def log(self):
        """Tokens of all signals."""
        page = json.loads(ask(f"{self.admin}/v1/signals?after=0"))
        return {signal_["token"] for signal_ in page["signals"]}

    def kill(self, victims):
        """All in one moment, or devices of the first would come to the last, and be struck twice."""
        for i in victims:
            self.processes[i].kill()
        for i in victims:
            self.processes[i].wait()

    def close(self):
        super().close()
        if self.keeper is not None:
            self.keeper.terminate()  # in order: it ends its redis-server
            try:
                self.keeper.wait(20)
            except subprocess.TimeoutExpired:
                self.keeper.kill()
                self.keeper.wait()

    def pids(self):
        redis = machine.children(self.keeper.pid)
        return super().pids() + [self.keeper.pid] + redis


class Floors(Servers):
    """As many of the floor, each with the frames that a node sends."""
    name = "floor"

    def __init__(self, args, scratch, frames):
        super().__init__(args)
        paths = []
        for name, frame in frames.items():
            paths.append(os.path.join(scratch, name + ".frame"))
            with open(paths[-1], "wb") as f:
                f.write(frame)
        try:
            for _ in range(args.nodes):
                self.processes.append(machine.spawn(
                    [os.path.join(args.bin, "kickoff-bench-floor"), "0", *("@" + path for path in paths), "1"],
                    stdout=subprocess.PIPE, text=True))
            self.ports = [int(p.stdout.readline()) for p in self.processes]
        except BaseException:
            self.close()
            raise

    def start(self):
        for p in self.processes:
            os.kill(p.pid, signal.SIGUSR1)


class Herd:
    """kickoff-herd-drive, which does as it is told (loadtest/drive/drive.c)."""

    def __init__(self, args, servers, version):
        argv = [os.path.join(args.bin, "kickoff-herd-drive"), "--devices", str(args.nodes * args.devices),
                "--url", servers.urls(), "--event", EVENT, "--event-version", str(version),
                "--timeout", f"{args.timeout}s", "--window", str(args.window),
                "--back-window", str(args.window), "--in-turn", str(args.in_turn)]
        self.process = machine.spawn(argv + (["--quiet"] if args.quiet else []), stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self.process.stdout.readline()
        if not answer:
            raise Failed(f"the herd ended early, at `{line}`")
        try:
            return json.loads(answer)
        except ValueError:
            raise Failed(f"the herd said at `{line}`: {answer[:300]!r}") from None

    def must(self, line, what):
        answer = self.ask(line)
        if not answer["done"]:
            brief = {key: value for key, value in answer.items() if isinstance(value, (int, float)) and value}
            raise Failed(f"{what}: not after all this time: {json.dumps(brief)}")
        return answer

    def pids(self):
        return [self.process.pid] + machine.children(self.process.pid)

    def close(self):
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except BrokenPipeError:
                pass
