"""The servers that are measured: how each is started, set up, told to broadcast, and ended.

What a class says of itself is printed into RESULTS.md: `setup` is how it was configured and why that is
fair. `jobs` is what it can do; `missing()` is why it cannot be measured here, or None.
"""

import glob
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid

from million_machine import free_port
from process import children, cpu_ns, move, pinned, stop, wait_for_port

HERE = os.path.dirname(os.path.abspath(__file__))
PATH = "/v1/prefetch/bench?cohort=default"
TEXT_HEADER = 4  # of a frame of 126 to 65,535 bytes


def output(argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).strip()
    except OSError:
        return ""


def debian_version(package):
    return output(["dpkg-query", "-W", "-f", "${Version}", package]) or "unknown"


def request(url, body, method="POST", headers=None):
    asked = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(asked, timeout=15) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{method} {url}: {error.code} {error.read().decode()}") from error


class Sizes:
    """Whole frames and the bundle's body, bytes: what kickoffd sends, so that all send as much."""

    def __init__(self, hello, reset, signal_frame, body):
        self.hello, self.reset, self.signal, self.body = hello, reset, signal_frame, body

    def greeting_payload(self):
        """Peers greet with one message as long as kickoffd's two frames."""
        return self.hello + self.reset - TEXT_HEADER

    def signal_payload(self):
        return self.signal - TEXT_HEADER


class Server:
    """A running server with a folder of its own. `pids` is whose CPU counts, `owners` whose memory."""

    jobs = ("devices",)
    greeting_frames = 1
    is_usual = True  # measured when nobody is named
    must_be_whole = False  # a connection lost makes the measurement invalid, not just worse

    def __init__(self, args):
        self.dir = tempfile.mkdtemp(prefix=f"kickoff-bench-{self.name}-")
        self.log = open(os.path.join(self.dir, "log"), "w+")
        self.port = free_port()
        self.process = None
        self.path = PATH
        try:
            self.start(args)
        except BaseException:
            self.close()
            raise

    def run(self, args, argv, **kwargs):
        self.process = pinned(args.server_core, argv, stdin=subprocess.DEVNULL, stdout=self.log,
                              stderr=self.log, **kwargs)
        self.pids = self.owners = [self.process.pid]

    def redis_ns(self):
        return 0

    def broadcast(self):
        request(f"http://127.0.0.1:{self.port}/publish", self.message)

    def close(self):
        if self.process:
            stop(self.process)
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Floor(Server):
    name, label = "floor", "floor"
    jobs = ("devices", "prefetch")
    greeting_frames = 2
    must_be_whole = True
    setup = ("a bare epoll loop that makes the system calls the job needs and sends ready-made bytes, as many as "
             "kickoffd; it looks at nine bytes of a request and keeps a bit per descriptor. Broadcasts upon a signal")

    @staticmethod
    def missing(args):
        return needs_program(args, "kickoff-bench-floor")

    @staticmethod
    def version(args):
        return "of this commit"

    def start(self, args):
        sizes = args.sizes
        self.run(args, [os.path.join(args.bin, "kickoff-bench-floor"), str(self.port)]
                 + [str(size) for size in (sizes.hello, sizes.reset, sizes.signal, sizes.body)])
        wait_for_port(self.process, self.port, self.log)

    def broadcast(self):
        os.kill(self.process.pid, signal.SIGUSR1)


class Node(Server):
    name, label = "kickoffd", "kickoffd"
    jobs = ("devices", "prefetch")
    greeting_frames = 2
    must_be_whole = True
    setup = ("one worker, a Redis of its own on the load's core, pings every 5 min; a broadcast is a stage change "
             "through the admin API, so it is committed, numbered and kept for replay before anybody hears of it; its "
             "control thread counts")

    def __init__(self, args, redis=None):
        self.url = redis
        self.stages = 0
        self.redis = None
        super().__init__(args)

    @staticmethod
    def missing(args):
        return needs_program(args, "kickoffd") or needs_command("redis-server", "redis-server", "valkey-server")

    @staticmethod
    def version(args):
        return "of this commit"

    def start(self, args):
        self.admin = free_port()
        where = ["--redis", self.url] if self.url else ["--data", os.path.join(self.dir, "data")]
        self.run(args, [os.path.join(args.bin, "kickoffd"), "--listen", f"127.0.0.1:{self.port}",
                        "--admin", f"127.0.0.1:{self.admin}", "--workers", "1", "--name", f"bench-{self.port}",
                        "--durability", args.durability, "--ping", "5m"] + where + args.kickoffd_option)
        if not self.url:
            self.wait_ready()
            self.find_redis(args.load_core)
            self.make_event(args)

    def make_event(self, args):
        self.ask("POST", "/v1/events", {"id": "bench", "title": "Bench", "starts_at": "2030-01-01T00:00:00Z"})
        self.ask("PUT", "/v1/events/bench/bundles/default", b"b" * args.body, "application/octet-stream")
        self.ask("POST", "/v1/events/bench/bundles", {})
        self.ask("POST", "/v1/events/bench/start", {})
        # Also warms the node's bundle cache, as the first device of a cohort does.
        self.wait_for(f"http://127.0.0.1:{self.port}{self.path}", "the bundle is not served")

    def wait_for(self, url, what):
        for _ in range(400):
            try:
                with urllib.request.urlopen(url, timeout=2):
                    return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
        self.log.seek(0)
        raise RuntimeError(f"kickoffd: {what}:\n" + self.log.read())

    def wait_ready(self):
        self.wait_for(f"http://127.0.0.1:{self.admin}/readyz", "not ready")

    def find_redis(self, core):
        """The embedded redis-server: moved away, so that the server's core is the server's alone."""
        found = children(self.process.pid)
        self.redis = found[0] if found else None
        if self.redis:
            move(self.redis, core)

    def redis_ns(self):
        return cpu_ns([self.redis]) if self.redis else 0

    def ask(self, method, path, body, content_type="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = request(f"http://127.0.0.1:{self.admin}{path}", data, method,
                         {"Content-Type": content_type, "Idempotency-Key": f"bench-{uuid.uuid4()}"})
        return json.loads(answer or b"null")

    def broadcast(self):
        self.stages += 1
        self.ask("POST", "/v1/events/bench/stage", {"stage": f"stage-{self.stages % 2}"})


class Libwebsockets(Server):
    name, label = "libwebsockets", "libwebsockets"
    more = []
    setup = ("a server of ours (peers/lws_server.c) on Debian's library, as its documentation says: its own event loop, "
             "a list of sessions, shared messages written in the writable callback; 512 bytes to receive, as devices say "
             "little; timeouts and pings (5 min) are the library's defaults")

    @staticmethod
    def missing(args):
        return needs_program(args, "kickoff-bench-lws")

    @staticmethod
    def version(args):
        return output([os.path.join(args.bin, "kickoff-bench-lws"), "--version"]).rstrip("-")

    def start(self, args):
        self.message = b"s" * args.sizes.signal_payload()
        self.run(args, [os.path.join(args.bin, "kickoff-bench-lws"), str(self.port),
                        str(args.sizes.greeting_payload())] + self.more)
        wait_for_port(self.process, self.port, self.log)


class LibwebsocketsQuiet(Libwebsockets):
    name, label = "libwebsockets-quiet", "lws, no pings"
    is_usual = False
    more = ["no-pings"]
    setup = "the same without pings, so that a dead device is never noticed: what is left without a timer for each"


class Nginx(Server):
    """Static files; also the ground that Nchan stands on. A master and one worker: the worker is measured."""

    name, label = "nginx", "nginx"
    jobs = ("prefetch",)
    config = "nginx.conf"
    setup = ("one worker, the bundle as a static file kept open (open_file_cache), sendfile, no access log, "
             "no limit of requests per connection; fewer header bytes than kickoffd's answer. The worker is measured")

    @staticmethod
    def missing(args):
        return needs_command("nginx", "nginx")

    @staticmethod
    def version(args):
        return debian_version("nginx")

    def start(self, args):
        folder = os.path.join(self.dir, "root", "v1", "prefetch")
        os.makedirs(folder)
        with open(os.path.join(folder, "bench"), "wb") as f:
            f.write(b"b" * args.body)
        with open(os.path.join(HERE, "peers", self.config)) as f:
            text = f.read()
        for name, value in (("PORT", self.port), ("DIR", self.dir), ("FILES", args.files),
                            ("CONNECTIONS", args.files - 64), ("MODULES", "/usr/lib/nginx/modules")):
            text = text.replace(f"@{name}@", str(value))
        path = os.path.join(self.dir, "nginx.conf")
        with open(path, "w") as f:
            f.write(text)
        # Workers of root's nginx would be somebody else, who may not look into our folder.
        mine = ["-g", "user root;"] if os.geteuid() == 0 else []
        self.run(args, [shutil.which("nginx", path=SBIN), "-p", self.dir, "-c", path] + mine)
        wait_for_port(self.process, self.port, self.log)
        for _ in range(100):  # the master listens before it has a worker
            self.pids = children(self.process.pid)
            if self.pids:
                break
            time.sleep(0.05)
        self.owners = [self.process.pid] + self.pids  # they share memory
        if len(self.pids) != 1:
            raise RuntimeError(f"nginx has {len(self.pids)} workers, not one")


class Nchan(Nginx):
    name, label = "nchan", "Nchan"
    jobs = ("devices",)
    greeting_frames = 0
    config = "nchan.conf"
    setup = ("a module of nginx with one worker, one channel in its shared memory, 1,000 messages kept, pings every "
             "5 min. A newcomer gets no greeting, which spares it a send: greeted with a message of the channel's buffer, "
             "its handshakes become dearer with every subscriber there is. The worker is measured, for memory the "
             "master as well")

    @staticmethod
    def missing(args):
        if not glob.glob("/usr/lib/nginx/modules/ngx_nchan_module.so"):
            return "Debian package libnginx-mod-nchan"
        return Nginx.missing(args)

    @staticmethod
    def version(args):
        return f"{debian_version('libnginx-mod-nchan')} in nginx {debian_version('nginx')}"

    def start(self, args):
        super().start(args)
        self.message = b"s" * args.sizes.signal_payload()


class Ws(Server):
    name, label = "ws", "ws (Node)"
    setup = ("peers/ws/server.js: the HTTP server, the WebSocketServer on it and the loop over its clients as its "
             "documentation shows, no compression, one process; all threads of Node count, the collector's too")

    @staticmethod
    def folder(args):
        return os.path.join(os.path.dirname(os.path.abspath(args.bin)), "bench-ws")

    @classmethod
    def missing(cls, args):
        """Installs the pinned version into the build folder, once."""
        lacks = needs_command("node", "nodejs") or needs_command("npm", "npm")
        if lacks:
            return lacks
        source, folder = os.path.join(HERE, "peers", "ws"), cls.folder(args)
        with open(os.path.join(source, "package.json")) as f:
            wanted = json.load(f)["dependencies"]["ws"]
        os.makedirs(folder, exist_ok=True)
        for name in ("package.json", "package-lock.json", ".npmrc", "server.js"):
            shutil.copy(os.path.join(source, name), folder)
        if cls.version(args).split()[0] == wanted:
            return None
        done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=False, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return None if done.returncode == 0 else f"npm package ws {wanted} (npm ci failed: {done.stdout[-300:]})"

    @classmethod
    def version(cls, args):
        try:
            with open(os.path.join(cls.folder(args), "node_modules", "ws", "package.json")) as f:
                return f"{json.load(f)['version']} on Node {output(['node', '--version'])}"
        except OSError:
            return "none"

    def start(self, args):
        self.message = b"s" * args.sizes.signal_payload()
        self.run(args, ["node", os.path.join(self.folder(args), "server.js"), str(self.port),
                        str(args.sizes.greeting_payload())])
        wait_for_port(self.process, self.port, self.log)


SBIN = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
KINDS = [Floor, Node, Libwebsockets, LibwebsocketsQuiet, Nchan, Nginx, Ws]


def needs_program(args, name):
    if os.access(os.path.join(args.bin, name), os.X_OK):
        return None
    return f"{name} in {args.bin} (cmake --preset release && cmake --build build/release --target {name})"


def needs_command(name, package, *others):
    if any(shutil.which(command, path=SBIN) for command in (name, *others)):
        return None
    return f"Debian package {package}"
