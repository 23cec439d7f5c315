"""The two ends that a row holds besides the scripted node: an SDK's driver program, and a real kickoffd."""
import ctypes
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid

from scripted_node import PATIENCE_S, Failed, take

HERE = os.path.dirname(os.path.abspath(__file__))
LIBC = ctypes.CDLL(None)
LOG = ('signal', 'reset', 'message')


def die_with_parent():
    LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Skipped(Exception):
    """This SDK, or this node, does not have what the row is about."""


class Device:
    """A driver program, and what it has printed."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, bufsize=1, preexec_fn=die_with_parent)
        self.lines = queue.Queue()
        self.history, self.unasked = [], []
        self.complaints = []
        for read in (self._read, self._read_stderr):
            threading.Thread(target=read, daemon=True).start()
        ready = self.next('ready')
        self.can = set(ready['can'])

    def _read(self):
        for line in self.process.stdout:
            try:
                self.lines.put(json.loads(line))
            except ValueError:
                self.lines.put({'event': 'no JSON', 'line': line})
        self.lines.put({'event': 'end of output'})

    def _read_stderr(self):
        for line in self.process.stderr:
            self.complaints.append(line.rstrip())

    def do(self, what, **more):
        self.process.stdin.write(json.dumps({'do': what, **more}) + '\n')
        self.process.stdin.flush()

    def connect(self, node, device='d-1', **options):
        """Short waits, since rows are about what happens and not how long it takes."""
        self.do('connect', url=node.url, device=device, **{'backoff_min_ms': 20, 'backoff_max_ms': 50, **options})

    def next(self, event, patience=PATIENCE_S):
        """The next line with this event; lines of others wait until they are asked for. What the log says (signal, reset,
        message) must come in the order in which the row asks."""
        end = time.monotonic() + patience
        while True:
            for line in self.unasked:
                if line['event'] == event:
                    self.unasked.remove(line)
                    return line
                if line['event'] in LOG and event in LOG:
                    raise Failed(f'{event} was due, but the SDK printed {line}')
            line = take(self.lines, f'{event} from the SDK', max(end - time.monotonic(), 0.01))
            self.history.append(line)
            self.unasked.append(line)
            if line['event'] in ('no JSON', 'end of output') and event != line['event']:
                raise Failed(f'{event} was due, but the driver printed {line}')

    def until_state(self, state):
        while self.next('state')['state'] != state:
            pass

    def signal(self):
        return self.next('signal')['message']

    def ask(self):
        name = uuid.uuid4().hex
        self.do('ask', id=name)
        return self.next('answer')

    def seen(self, event):
        """All that was printed up to now, this event alone."""
        self.ask()
        return [line for line in self.history if line['event'] == event]

    def end(self):
        self.process.stdin.close()
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None


class Node:
    """A real kickoffd with a Redis of its own."""

    def __init__(self, bin_dir, *options):
        self.dir = tempfile.mkdtemp(prefix='kickoff-contract-')
        self.log = os.path.join(self.dir, 'log')
        with open(self.log, 'w') as log:
            self.process = subprocess.Popen(
                [os.path.join(bin_dir, 'kickoffd'), '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--workers', '1',
                 '--durability', 'memory', '--data', os.path.join(self.dir, 'data'), *options],
                stderr=log, preexec_fn=die_with_parent)
        self.port = self._port('NODE-READY')
        self.url = f'ws://127.0.0.1:{self.port}'
        self.admin = f'http://127.0.0.1:{self._port("ADMIN-LISTENS")}'

    def _port(self, log_id):
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            with open(self.log) as log:
                found = re.search(rf' {log_id} .*listen=\S*:(\d+)', log.read())
            if found:
                return int(found[1])
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise Failed(f'the node is not ready: {open(self.log).read()}')

    def ask(self, method, path, body=None, content='application/json'):
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.admin + path, data=data, method=method, headers={
            'Content-Type': content, 'Idempotency-Key': uuid.uuid4().hex})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status, json.loads(answer.read() or b'null')
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b'null')

    def change(self, path, body=None, method='POST', **more):
        status, answer = self.ask(method, path, {} if body is None else body, **more)
        if status >= 300:
            raise Failed(f'{method} {path}: {status} {answer}')
        return answer

    def create(self, event='final', starts_at='2030-01-01T20:00:00Z', stages=('halftime',)):
        return self.change('/v1/events', {'id': event, 'title': 'The Final', 'starts_at': starts_at, 'stages': list(stages)})

    def publish(self, body, event='final', cohort='default'):
        self.change(f'/v1/events/{event}/bundles/{cohort}', body, 'PUT')
        return self.change(f'/v1/events/{event}/bundles')

    def until(self, what, holds):
        end = time.monotonic() + PATIENCE_S
        while not holds():
            if time.monotonic() > end:
                raise Failed(f'never came: {what}')
            time.sleep(0.05)

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
