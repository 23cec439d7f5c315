"""A node that does what a row of the table tells it, and no more: requests wait in queues by path until the row takes
them, and what a device says waits until the row asks. Raw sockets, so that it can also do what no node does. It is
held to a real node's words by the row that compares the two."""
import base64
import hashlib
import json
import queue
import socket
import struct
import threading
import time
import urllib.parse

PATIENCE_S = 30  # a device that has not done it by then never will
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
EPOCH = '8c1f0a2b3d4e5f60'


class Failed(Exception):
    """What a row expected did not happen."""


def take(waiting, what, patience=PATIENCE_S):
    try:
        return waiting.get(timeout=patience)
    except queue.Empty:
        raise Failed(f'never came: {what}') from None


class Link:
    """The node's end of one WebSocket."""

    def __init__(self, sock, request):
        self.sock, self.request = sock, request
        self.heard = queue.Queue()  # what the device said, in order: dicts, ('ping', b''), ('pong', b''), ('close', code), ('eof',)
        threading.Thread(target=self._read, daemon=True).start()

    def _exactly(self, n):
        data = b''
        while len(data) < n:
            more = self.sock.recv(n - len(data))
            if not more:
                raise ConnectionError
            data += more
        return data

    def _read(self):
        try:
            while True:
                first, second = self._exactly(2)
                size = second & 0x7f
                if size >= 126:
                    size = struct.unpack('>H' if size == 126 else '>Q', self._exactly(2 if size == 126 else 8))[0]
                if not second & 0x80 or first & 0x70 or not first & 0x80:
                    self.heard.put(('breach', 'a frame unmasked, fragmented or with reserved bits'))
                    return
                mask = self._exactly(4)
                payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self._exactly(size)))
                opcode = first & 0x0f
                if opcode == TEXT:
                    self.heard.put(json.loads(payload))
                elif opcode == CLOSE:
                    self.heard.put(('close', struct.unpack('>H', payload[:2])[0] if payload else 1005))
                else:
                    self.heard.put(({PING: 'ping', PONG: 'pong', BINARY: 'binary'}.get(opcode, 'breach'), payload))
        except (OSError, ConnectionError):
            self.heard.put(('eof',))

    def frame(self, opcode, payload, first=0x80):
        size = len(payload)
        head = bytes([first | opcode])
        head += bytes([size]) if size < 126 else b'\x7e' + struct.pack('>H', size) if size < 65536 \
            else b'\x7f' + struct.pack('>Q', size)
        self.sock.sendall(head + payload)

    def say(self, *messages):
        for message in messages:
            self.frame(TEXT, message.encode() if isinstance(message, str) else json.dumps(message).encode())

    def close(self, code, text=''):
        self.frame(CLOSE, struct.pack('>H', code) + text.encode())

    def cut(self):
        self.sock.close() if self.sock.fileno() < 0 else self.sock.shutdown(socket.SHUT_RDWR)

    def hear(self, what, patience=PATIENCE_S, but=('time',)):
        """The next thing that is not in `but`; it must be what the row waits for: a message type, 'pong', 'close' ..."""
        end = time.monotonic() + patience
        while True:
            got = take(self.heard, what, max(end - time.monotonic(), 0.01))
            kind = got['t'] if isinstance(got, dict) else got[0]
            if kind == what:
                return got
            if kind not in but:
                raise Failed(f'{what} was due, but the device said {got}')

    def hear_close(self, *codes):
        got = self.hear('close', but=('time', 'ack', 'pong'))
        if got[1] not in codes:
            raise Failed(f'closed with {got[1]} instead of {" or ".join(map(str, codes))}')

    def hear_nothing(self, seconds, but=('time',)):
        try:
            got = self.hear('anything', seconds, but)
        except Failed as failed:
            if str(failed) == 'never came: anything':
                return
            raise
        raise Failed(f'silence was due, but the device said {got}')


class Stream:
    """The node's end of one GET /v1/stream."""

    def __init__(self, sock, request):
        self.sock, self.request = sock, request
        sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n'
                     b'Connection: close\r\n\r\n')

    def say(self, *messages):
        for message in messages:
            place = f'id: {message["token"]}\n' if message.get('token') and message['t'] != 'hello' else ''
            self.sock.sendall(f'{place}data: {json.dumps(message)}\n\n'.encode())

    def ping(self):
        self.sock.sendall(b':\n\n')

    def cut(self):
        self.sock.shutdown(socket.SHUT_RDWR)

    def wait_end(self):
        self.sock.settimeout(PATIENCE_S)
        try:
            if self.sock.recv(1):
                raise Failed('the device wrote into its stream')
        except socket.timeout:
            raise Failed('the device never let go of its stream') from None
        except OSError:
            pass


class Request:
    def __init__(self, sock, head):
        lines = head.decode('latin-1').split('\r\n')
        self.sock = sock
        self.method, self.target, _ = lines[0].split(' ')
        self.path, _, query = self.target.partition('?')
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(':') for line in lines[1:])}
        self.came = time.monotonic()

    def upgrade(self):
        key = self.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        offered = self.headers.get('sec-websocket-protocol', '')
        named = 'Sec-WebSocket-Protocol: kickoff.v1.json\r\n' if 'kickoff.v1.json' in offered else ''
        self.sock.sendall((f'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
                           f'Sec-WebSocket-Accept: {accept}\r\n{named}\r\n').encode())
        return Link(self.sock, self)

    def stream(self):
        return Stream(self.sock, self)

    def answer(self, status, body=b'', **headers):
        lines = [f'HTTP/1.1 {status} Whatever', f'Content-Length: {len(body)}', 'Connection: close']
        lines += [f'{name.replace("_", "-")}: {value}' for name, value in headers.items()]
        self.sock.sendall('\r\n'.join(lines).encode() + b'\r\n\r\n' + (body if status != 304 else b''))
        self.sock.close()

    def cut(self):
        self.sock.close()


class ScriptedNode:
    def __init__(self):
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=64)
        self.url = f'ws://127.0.0.1:{self.listener.getsockname()[1]}'
        self.requests = {path: queue.Queue() for path in ('connect', 'stream', 'prefetch', 'other')}
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._read, args=(sock,), daemon=True).start()

    def _read(self, sock):
        head = b''
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while b'\r\n\r\n' not in head:
                more = sock.recv(4096)
                if not more:
                    return
                head += more
        except OSError:
            return
        request = Request(sock, head.split(b'\r\n\r\n')[0])
        word = request.path.split('/')[2] if request.path.startswith('/v1/') else ''
        self.requests.get(word, self.requests['other']).put(request)

    def request(self, word='connect', patience=PATIENCE_S):
        return take(self.requests[word], f'a request for {word}', patience)

    def no_request(self, word, seconds):
        try:
            self.requests[word].get(timeout=seconds)
        except queue.Empty:
            return
        raise Failed(f'a request for {word} where none was due')

    def link(self):
        return self.request('connect').upgrade()

    def close(self):
        self.listener.close()


# --- what nodes say, field by field in the order of PROTOCOL.md

def token(seq, tag=None, epoch=EPOCH):
    return f'{epoch}.{seq}.{0x77 + seq if tag is None else tag:016x}'


def hello(seq, recovered, **more):
    message = {'t': 'hello', 'node': 'scripted', 'session': '00000000000004d2', 'token': token(seq),
               'now': int(time.time() * 1000), 'ping_s': 50, 'lifetime_s': 1800, 'ack_spread_ms': 10}
    if 'prefetch_ms' in more:
        message['prefetch_ms'] = more['prefetch_ms']
    message['recovered'] = recovered
    if not recovered:
        message['reason'] = 'new'
    return {**message, **more}


def state(event='final', stage='scheduled', at=1000, version=1, bundle=0):
    return {'event': event, 'stage': stage, 'at': at, 'starts_at': 1795464000000, 'version': version, 'bundle': bundle}


def signal(seq, kind='start', stage='live', tag=None, epoch=EPOCH, **more):
    message = {'t': 'signal', 'seq': seq, 'token': token(seq, tag, epoch), 'event': 'final', 'kind': kind, 'stage': stage,
               'at': int(time.time() * 1000), 'starts_at': 1795464000000, 'version': seq, 'bundle': 0,
               'sent': int(time.time() * 1000)}
    return {**message, **more}


def reset(seq, *events, reason='new', epoch=EPOCH):
    return {'t': 'reset', 'reason': reason, 'token': token(seq, epoch=epoch), 'events': list(events)}


def goaway(reason, min_ms, max_ms):
    return {'t': 'goaway', 'reason': reason, 'min_ms': min_ms, 'max_ms': max_ms}
