"""The processes that the calls are made to: redis-server, kickoffd, and one connected device. All die with the test."""
import ctypes
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import time

PATIENCE_S = 60
LIBC = ctypes.CDLL(None)


def die_with_parent():
    LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Broken(Exception):
    """A part that the test stands on is not there."""


def until(what, holds):
    """The first true value of holds()."""
    end = time.monotonic() + PATIENCE_S
    while True:
        found = holds()
        if found:
            return found
        if time.monotonic() > end:
            raise Broken(f'never came: {what}')
        time.sleep(0.05)


PORTS = itertools.cycle(range(12000 + os.getpid() * 61 % 18000, 30000))


def free_port():
    """As tests/support/free_port.h: from below those that the kernel gives to who connects."""
    for port in itertools.islice(PORTS, 18000):
        with socket.socket() as probe:
            try:
                probe.bind(('127.0.0.1', port))
                return port
            except OSError:
                continue
    raise Broken('no port is free between 12000 and 30000')


class Redis:
    def __init__(self, root, name, *options):
        program = os.environ.get('KICKOFF_REDIS_SERVER') or shutil.which('redis-server') or shutil.which('valkey-server')
        self.dir = os.path.join(root, name)
        os.mkdir(self.dir)
        self.socket = os.path.join(self.dir, 's')
        self.url = f'unix://{self.socket}'
        with open(os.path.join(self.dir, 'log'), 'w') as log:
            self.process = subprocess.Popen(
                [program, '--port', '0', '--unixsocket', self.socket, '--dir', self.dir, '--save', '', '--appendonly', 'yes',
                 '--appendfsync', 'always', *options], stdout=log, preexec_fn=die_with_parent)
        until(f'redis-server {name}', lambda: os.path.exists(self.socket) and self.do('PING').startswith(b'+PONG'))

    def do(self, *words):
        """The first bytes of the answer."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(PATIENCE_S)
            try:
                link.connect(self.socket)
            except OSError:
                return b''
            link.sendall(f'*{len(words)}\r\n'.encode() + b''.join(f'${len(w)}\r\n{w}\r\n'.encode() for w in words))
            return link.recv(65536)

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Node:
    def __init__(self, bin_dir, root, name, *options):
        self.name, self.log = name, os.path.join(root, f'{name}.log')
        with open(self.log, 'w') as log:
            self.process = subprocess.Popen(
                [os.path.join(bin_dir, 'kickoffd'), '--name', name, '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0',
                 '--workers', '1', *options], stderr=log, preexec_fn=die_with_parent)
        self.port = self.port_of('NODE-READY')
        self.admin = self.port_of('ADMIN-LISTENS')

    def said(self):
        with open(self.log) as log:
            return log.read()

    def port_of(self, log_id):
        def found():
            if self.process.poll() is not None:
                raise Broken(f'node {self.name} ended: {self.said()}')
            return re.search(rf' {log_id} .*listen=\S*:(\d+)', self.said())
        return int(until(f'{log_id} of node {self.name}', found)[1])

    def end(self):
        self.process.terminate()
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def connect_device(node, device):
    """A WebSocket that is open for as long as the socket that is returned."""
    link = socket.create_connection(('127.0.0.1', node.port), PATIENCE_S)
    link.sendall((f'GET /v1/connect?device={device} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
                  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n').encode())
    head = b''
    while b'\r\n\r\n' not in head:
        more = link.recv(4096)
        if not more:
            raise Broken(f'the device was not let in: {head!r}')
        head += more
    if not head.startswith(b'HTTP/1.1 101 '):
        raise Broken(f'the device was not let in: {head!r}')
    return link
