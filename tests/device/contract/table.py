"""The table: one row for each behaviour that every SDK has. A row takes `c` (Context): c.device, c.node() (scripted) or
c.real() (kickoffd). Rows are named after the promise they keep. `needs` are words of the driver's `can`; `real` rows
need kickoffd."""
import gzip
import hashlib
import json
import os
import socket
import threading
import time

from driven import HERE, Skipped
from scripted_node import (Failed, EPOCH, goaway, hello, reset, signal, state, token)

ROWS = []


def row(*needs, real=False):
    def enter(function):
        ROWS.append((function.__name__.replace('_', ' '), set(needs), real, function))
        return function
    return enter


def same(got, wanted, what='value'):
    if got != wanted:
        raise Failed(f'{what} is {got!r} instead of {wanted!r}')


def true(fact, what):
    if not fact:
        raise Failed(f'not so: {what}')


def connected(c, seq=10, since=True, ping=50, ack_spread=10, **options):
    """A device that has resumed at `seq` with a scripted node. Returns (node, link)."""
    node = c.node()
    c.device.connect(node, **({'since': token(seq)} if since else {}), **options)
    link = node.link()
    link.say(hello(seq, since, ping_s=ping, ack_spread_ms=ack_spread))
    if not since:
        link.say(reset(seq, state()))
        c.device.next('reset')
    else:
        c.device.next('hello')
    return node, link


# --- asking

@row()
def it_asks_as_the_protocol_says(c):
    node = c.node()
    c.device.connect(node, device='tv.1:~_-', cohort='north', since=token(7))
    request = node.request()
    same((request.method, request.path), ('GET', '/v1/connect'), 'request')
    for name, value in {'device': 'tv.1:~_-', 'cohort': 'north', 'since': token(7)}.items():
        same(request.query.get(name), value, name)
    true(request.query.get('ack', '1') == '1', 'acks are offered')
    true('kickoff.v1.json' in request.headers['sec-websocket-protocol'], 'the subprotocol is named')
    same(request.headers['sec-websocket-version'], '13')


@row()
def who_knows_nothing_gives_no_token(c):
    node = c.node()
    c.device.connect(node)
    true('since' not in node.request().query, 'no `since`')


@row('attributes')
def it_tells_its_attributes(c):
    node = c.node()
    c.device.connect(node, platform='tv', region='eu-north', app='7.1')
    query = node.request().query
    same((query.get('platform'), query.get('region'), query.get('app')), ('tv', 'eu-north', '7.1'))


@row()
def who_sends_no_acks_says_so_and_sends_none(c):
    node = c.node()
    c.device.connect(node, since=token(10), ack=False)
    request = node.request()
    same(request.query.get('ack'), '0')
    link = request.upgrade()
    link.say(hello(10, True), signal(11))
    c.device.signal()
    link.hear_nothing(0.5)


# --- order

@row()
def a_signal_is_handed_on_whole_and_moves_the_token(c):
    node, link = connected(c)
    told = signal(11, kind='refresh', bundle=0, window_ms=60000, event='derby-ü', stage='halbzeit')
    link.say(told)
    same(c.device.signal(), told, 'signal')
    same(c.device.ask()['token'], token(11), 'token')


@row()
def a_reset_is_handed_on_whole(c):
    node, link = connected(c, since=False)
    told = reset(15, state('a', 'live', 5, 2), state('b'), reason='trimmed')
    link.say(told)
    same(c.device.next('reset')['message'], told)
    same(c.device.ask()['token'], token(15))
    link.say(signal(16))
    same(c.device.signal()['seq'], 16)


@row()
def a_repeat_is_swallowed(c):
    node, link = connected(c)
    link.say(signal(11), signal(11), signal(12), signal(11), signal(12), signal(13))
    same([c.device.signal()['seq'] for _ in range(3)], [11, 12, 13])
    same(len(c.device.seen('signal')), 3)


def breach(name, *messages, since=True):
    def play(c):
        node, link = connected(c, since=since)
        link.say(*messages)
        link.hear_close(1002)
        same(node.request().query['since'], token(10), 'the token it comes back with')
        same(c.device.seen('signal'), [])
    play.__name__ = name
    row()(play)


breach('a_gap_is_a_breach', signal(12))
breach('another_epoch_without_a_reset_is_a_breach', signal(11, epoch='00000000000000ff'))
breach('the_same_number_with_another_tag_is_a_breach', signal(10, tag=5))
breach('a_second_hello_is_a_breach', hello(10, True))
breach('a_number_from_long_ago_is_a_breach', signal(3))


@row()
def no_signal_is_believed_before_the_reset_that_is_due(c):
    node = c.node()
    c.device.connect(node, since=token(10))
    link = node.link()
    link.say(hello(10, False, reason='trimmed'), signal(11))
    link.hear_close(1002)
    same(node.request().query['since'], token(10))
    same(c.device.seen('signal'), [])


@row()
def the_first_message_is_hello_or_nothing(c):
    node = c.node()
    c.device.connect(node, since=token(10))
    link = node.link()
    link.say(signal(11))
    link.hear_close(1002)
    node.request()
    same(c.device.seen('signal'), [])


@row()
def who_gave_no_token_cannot_have_been_recovered(c):
    node = c.node()
    c.device.connect(node)
    link = node.link()
    link.say(hello(10, True))
    link.hear_close(1002)
    true('since' not in node.request().query, 'it still knows nothing')


@row()
def a_reset_is_believed_even_backwards_and_into_another_epoch(c):
    node, link = connected(c)
    link.say(signal(11), reset(4, reason='forked', epoch='00000000000000ff'))
    c.device.signal()
    c.device.next('reset')
    link.say(signal(5, epoch='00000000000000ff'))
    same(c.device.signal()['seq'], 5)
    link.cut()
    same(node.request().query['since'], token(5, epoch='00000000000000ff'))


@row('skip')
def a_skip_moves_the_token_and_says_nothing(c):
    node, link = connected(c)
    link.say({'t': 'skip', 'token': token(14)}, {'t': 'skip', 'token': token(14)}, signal(15))
    same(c.device.signal()['seq'], 15)
    same(len(c.device.seen('signal')), 1)
    link.cut()
    same(node.request().query['since'], token(15))


@row('skip')
def a_skip_alone_is_kept_over_a_reconnect(c):
    node, link = connected(c)
    link.say({'t': 'skip', 'token': token(12)})
    link.say(signal(13))
    c.device.signal()
    link.say({'t': 'skip', 'token': token(20)}, {'t': 'message', 'id': 'after', 'body': ''})
    c.device.next('message')
    same(c.device.ask()['token'], token(20))
    link.cut()
    same(node.request().query['since'], token(20))


@row('skip')
def a_skip_back_is_a_breach(c):
    node, link = connected(c)
    link.say({'t': 'skip', 'token': token(8)})
    link.hear_close(1002)
    same(node.request().query['since'], token(10))


@row('skip')
def a_skip_into_another_epoch_is_a_breach(c):
    node, link = connected(c)
    link.say({'t': 'skip', 'token': token(12, epoch='00000000000000ff')})
    link.hear_close(1002)
    same(node.request().query['since'], token(10))


# --- later versions, and nonsense

@row()
def unknown_types_and_fields_are_skipped(c):
    node, link = connected(c)
    link.say({'t': 'weather', 'rain': [1, {'much': None}]}, {**signal(11), 'colour': {'deep': [[]]}, 'x': None})
    same(c.device.signal()['seq'], 11)


@row()
def fields_come_in_any_order(c):
    node, link = connected(c)
    link.say(dict(reversed(list(signal(11).items()))))
    same(c.device.signal()['seq'], 11)


def malformed(name, *texts):
    def play(c):
        node, link = connected(c)
        for text in texts:
            link.say(text)
            link.hear_close(1002, 1007)
            link = node.link()
            link.say(hello(10, True))
            c.device.next('hello')
        same(c.device.seen('signal'), [])
        same(c.device.ask()['token'], token(10))
    play.__name__ = name
    row()(play)


def without(message, field):
    return {name: value for name, value in message.items() if name != field}


malformed('what_is_no_message_ends_the_connection', 'null', '[]', '{', '{"t":7}', '{"seq":11}')
malformed('a_message_without_a_field_ends_the_connection', without(signal(11), 'stage'), without(signal(11), 'token'))
malformed('a_message_with_a_wrong_field_ends_the_connection', {**signal(11), 'at': '12'}, {**signal(11), 'kind': 'begin'},
          {**signal(11), 'token': 'x'}, {**signal(11), 'bundle': -1}, {**signal(11), 'version': 1.5})


@row()
def a_signal_whose_number_is_not_its_tokens_ends_the_connection(c):
    node, link = connected(c)
    link.say({**signal(11), 'seq': 12})
    link.hear_close(1002, 1007)
    same(node.request().query['since'], token(10))
    same(c.device.seen('signal'), [])


@row()
def a_binary_frame_ends_the_connection(c):
    node, link = connected(c)
    link.frame(2, json.dumps(signal(11)).encode())
    link.hear_close(1002, 1003, 1007)
    node.request()
    same(c.device.seen('signal'), [])


@row()
def a_message_may_come_in_fragments_with_a_ping_between(c):
    node, link = connected(c)
    text = json.dumps(signal(11), ensure_ascii=False).encode()
    link.frame(1, text[:20], first=0)
    link.frame(9, b'tick')
    link.frame(0, text[20:40], first=0)
    link.frame(0, text[40:])
    same(c.device.signal()['seq'], 11)
    same(link.hear('pong', but=('time', 'ack'))[1], b'tick')


@row()
def a_reset_of_a_thousand_events_is_taken(c):
    node, link = connected(c)
    link.say(reset(11, *(state(f'event-{i}') for i in range(1024))))
    same(len(c.device.next('reset')['message']['events']), 1024)


@row()
def a_message_for_this_device_is_handed_on(c):
    node, link = connected(c)
    body = 'Kick-off für alle: „los“\n\t"\\ \U0001f389'
    link.say({'t': 'message', 'id': 'm-7', 'body': body})
    same(c.device.next('message')['message'], {'t': 'message', 'id': 'm-7', 'body': body})
    same(c.device.ask()['token'], token(10))


# --- acks

@row()
def one_ack_answers_for_the_newest(c):
    node, link = connected(c, ack_spread=500)
    link.say(signal(11), signal(12), signal(13))
    for _ in range(3):
        c.device.signal()
    same(link.hear('ack')['seq'], 13)
    link.hear_nothing(0.7)


@row()
def an_ack_is_spread(c):
    """Sent at once it would come within milliseconds, each time."""
    node, link = connected(c, ack_spread=3000)
    waits = []
    for seq in range(11, 14):
        said = time.monotonic()
        link.say(signal(seq))
        link.hear('ack')
        waits.append(time.monotonic() - said)
    true(max(waits) > 0.05, f'a wait among {waits}')


@row()
def a_reset_is_not_acknowledged(c):
    node, link = connected(c, since=False)
    link.say(reset(12))
    c.device.next('reset')
    link.hear_nothing(0.5)


@row()
def an_ack_says_when_the_app_acted_if_it_has(c):
    node, link = connected(c, ack_spread=1500)
    link.say(signal(11))
    c.device.signal()
    c.device.do('activated', seq=11)
    ack = link.hear('ack')
    true(abs(ack['activated_at'] - time.time() * 1000) < 10000, 'it is a moment of the node\'s clock')
    link.say(signal(12))
    c.device.signal()
    true('activated_at' not in link.hear('ack'), 'it does not make one up')


@row()
def an_ack_still_owed_follows_on_the_next_connection(c):
    node, link = connected(c, ack_spread=60000)
    link.say(signal(11))
    c.device.signal()
    link.cut()
    link = node.link()
    link.say(hello(11, True))
    same(link.hear('ack')['seq'], 11)


# --- time

@row()
def it_asks_for_the_time_three_times_and_believes_the_answers(c):
    node, link = connected(c)
    for _ in range(3):
        asked = link.hear('time', but=())
        link.say({'t': 'time', 't0': asked['t0'], 't1': int(time.time() * 1000) + 60000})
    offset = wait_offset(c, lambda ms: ms > 30000)
    true(abs(offset - 60000) < 10000, f'the node is a minute ahead, not {offset} ms')


@row()
def an_answer_to_another_question_is_ignored(c):
    node, link = connected(c)
    asked = link.hear('time', but=())
    link.say({'t': 'time', 't0': asked['t0'] + 1, 't1': int(time.time() * 1000) + 60000}, signal(11))
    c.device.signal()
    true(abs(c.device.ask()['offset_ms']) < 10000, 'the offset is still that of hello')


@row('skew')
def it_knows_how_wrong_its_clock_is(c):
    node, link = connected(c, skew_ms=-5000)
    for _ in range(3):
        asked = link.hear('time', but=())
        link.say({'t': 'time', 't0': asked['t0'], 't1': int(time.time() * 1000)})
    offset = wait_offset(c, lambda ms: abs(ms - 5000) < 500)
    true(abs(offset - 5000) < 500, f'{offset} is 5000')


def wait_offset(c, holds):
    for _ in range(200):
        offset = c.device.ask()['offset_ms']
        if holds(offset):
            break
        time.sleep(0.05)
    return offset


@row('due')
def a_stage_is_due_at_its_moment_and_not_before(c):
    node, link = connected(c, due=True)
    at = int(time.time() * 1000) + 1500
    link.say(signal(11, at=at))
    due = c.device.next('due')
    same((due['seq'], due['of'], due['stage'], due['at']), (11, 'final', 'live', at))
    true(due['node_ms'] >= at, f'not before: {due["node_ms"]} >= {at}')
    true(time.time() * 1000 > at - 200, 'by a clock of ours, either')


@row('due', 'skew')
def a_wrong_clock_does_not_make_it_late_or_early(c):
    node, link = connected(c, due=True, skew_ms=5000)
    at = int(time.time() * 1000) + 1500
    link.say(signal(11, at=at))
    c.device.next('due')
    true(time.time() * 1000 > at - 500, 'it waited for the node\'s clock, not its own')


@row('due')
def what_is_past_is_due_at_once(c):
    node, link = connected(c, due=True)
    link.say(signal(11, at=1000))
    same(c.device.next('due')['stage'], 'live')


@row('due')
def a_newer_signal_takes_back_what_was_not_due_yet(c):
    node, link = connected(c, due=True)
    link.say(signal(11, at=int(time.time() * 1000) + 1500),
             signal(12, kind='delay', stage='scheduled', at=int(time.time() * 1000)))
    same(c.device.next('due')['stage'], 'scheduled')
    time.sleep(2)  # the moment that was taken back passes
    same([due['stage'] for due in c.device.seen('due')], ['scheduled'])


@row('due')
def a_refresh_does_not_make_a_stage_due_again(c):
    node, link = connected(c, due=True)
    link.say(signal(11, at=5000), signal(12, kind='refresh', at=5000, window_ms=1), signal(13, stage='halftime', at=6000))
    c.device.signal(), c.device.signal(), c.device.signal()
    same([due['stage'] for due in c.device.seen('due')], ['live', 'halftime'])


# --- leaving, and coming back

@row()
def a_lost_connection_is_resumed(c):
    node, link = connected(c)
    link.say(signal(11))
    c.device.signal()
    link.cut()
    request = node.request()
    same(request.query['since'], token(11))
    link = request.upgrade()
    link.say(hello(11, True), signal(12))
    same(c.device.signal()['seq'], 12)


@row()
def an_app_that_cuts_comes_back(c):
    node, link = connected(c)
    c.device.do('cut')
    same(node.request().query['since'], token(10))


def comes_back_after(code):
    def play(c):
        node, link = connected(c)
        link.close(code)
        same(node.request().query['since'], token(10))
    play.__name__ = f'after_a_close_with_{code}_it_comes_back'
    row()(play)


for _code in (1000, 1001, 1002, 1008, 1011, 1012, 1013, 4008, 4777):
    comes_back_after(_code)


def stops_after(code):
    def play(c):
        node, link = connected(c)
        link.close(code)
        c.device.until_state('stopped')
        node.no_request('connect', 0.5)
    play.__name__ = f'after_a_close_with_{code}_it_does_not_come_back'
    row()(play)


stops_after(4001)
stops_after(4009)


def stops_at(status):
    def play(c):
        node = c.node()
        c.device.connect(node)
        node.request().answer(status, b'{"title":"no"}')
        c.device.until_state('stopped')
        node.no_request('connect', 0.5)
    play.__name__ = f'refused_with_{status}_it_stops'
    row()(play)


for _status in (400, 401, 403, 404, 405, 431):
    stops_at(_status)


def asks_again_at(status):
    def play(c):
        node = c.node()
        c.device.connect(node)
        node.request().answer(status)
        node.link().say(hello(0, False), reset(0))
        c.device.next('reset')
    play.__name__ = f'refused_with_{status}_it_asks_again'
    row()(play)


for _status in (408, 429, 500, 502, 503):
    asks_again_at(_status)


def waits_retry_after(status):
    def play(c):
        node = c.node()
        c.device.connect(node)
        request = node.request()
        refused = time.monotonic()
        request.answer(status, Retry_After='2')
        true(node.request().came - refused >= 2, 'it waited as long as it was asked to')
    play.__name__ = f'retry_after_of_a_{status}_is_waited_for'
    row()(play)


waits_retry_after(429)
waits_retry_after(503)


@row()
def a_connection_reset_in_the_handshake_is_tried_again(c):
    node = c.node()
    c.device.connect(node)
    node.request().cut()
    node.link()


@row()
def replaced_does_not_come_back(c):
    node, link = connected(c)
    link.say(goaway('replaced', 0, 0))
    same(c.device.next('goaway')['message']['reason'], 'replaced')
    c.device.until_state('stopped')
    link.hear_close(1000)
    node.no_request('connect', 0.5)


@row()
def a_goaway_before_hello_is_waited_for(c):
    node = c.node()
    c.device.connect(node)
    link = node.link()
    said = time.monotonic()
    link.say(goaway('overload', 1500, 2000))
    link.close(1013)
    same(c.device.next('goaway')['message'], goaway('overload', 1500, 2000))
    true(node.request().came - said >= 1.5, 'not before min_ms')


@row()
def after_a_goaway_signals_still_come(c):
    node, link = connected(c)
    link.say(goaway('recycle', 1500, 2500))
    c.device.next('goaway')
    link.say(signal(11))
    same(c.device.signal()['seq'], 11)


@row()
def it_leaves_at_the_moment_drawn(c):
    node, link = connected(c)
    said = time.monotonic()
    link.say(goaway('drain', 1500, 2500))
    request = node.request()
    true(request.came - said >= 1.5, 'not before min_ms')
    same(request.query['since'], token(10))
    request.upgrade().say(hello(10, True))
    link.hear_close(1000)


@row()
def a_node_that_closes_before_the_moment_drawn_does_not_change_it(c):
    node, link = connected(c)
    said = time.monotonic()
    link.say(goaway('drain', 1500, 2000))
    c.device.next('goaway')
    link.close(1012)
    true(node.request().came - said >= 1.5, 'the moment drawn holds')


@row()
def an_overloaded_node_is_left_before_another_is_asked(c):
    node, link = connected(c)
    link.say(goaway('overload', 0, 500))
    link.hear_close(1000)
    same(node.request().query['since'], token(10))


@row('hand-over')
def the_second_connection_has_said_hello_before_the_first_is_closed(c):
    node, first = connected(c)
    first.say(goaway('recycle', 0, 100))
    request = node.request()
    same(request.query['since'], token(10))
    second = request.upgrade()
    first.hear_nothing(0.5, but=('time', 'ack'))
    first.say(signal(11), signal(12))
    same([c.device.signal()['seq'] for _ in range(2)], [11, 12])
    second.say(hello(10, True))
    first.hear_close(1000)
    second.say(signal(11), signal(12), signal(13))
    same(c.device.signal()['seq'], 13)
    same([line['message']['seq'] for line in c.device.seen('signal')], [11, 12, 13])


@row('hand-over')
def a_hand_over_that_is_refused_keeps_the_first(c):
    node, first = connected(c)
    first.say(goaway('drain', 0, 50))
    node.request().answer(503, Retry_After='1')
    first.say(signal(11))
    same(c.device.signal()['seq'], 11)
    request = node.request()
    same(request.query['since'], token(11))
    request.upgrade().say(hello(11, True))
    first.hear_close(1000)


@row('hand-over')
def a_first_that_ends_in_a_hand_over_leaves_it_to_the_second(c):
    node, first = connected(c)
    first.say(goaway('drain', 0, 50))
    second = node.link()
    first.close(1012)
    second.say(hello(10, True), signal(11))
    same(c.device.signal()['seq'], 11)
    node.no_request('connect', 0.5)


@row('hand-over')
def replaced_by_its_own_second_connection_is_no_reason_to_stop(c):
    node, first = connected(c)
    first.say(goaway('recycle', 0, 50))
    second = node.link()
    first.say(goaway('replaced', 0, 0))
    first.close(4009)
    second.say(hello(10, True), signal(11))
    same(c.device.signal()['seq'], 11)
    same(c.device.ask()['state'], 'connected')


@row('hand-over', 'skip')
def a_hand_over_may_repeat_a_skip(c):
    node, first = connected(c)
    first.say(goaway('recycle', 0, 50))
    second = node.link()
    first.say({'t': 'skip', 'token': token(12)}, signal(13))
    c.device.signal()
    second.say(hello(10, True), {'t': 'skip', 'token': token(12)}, signal(13), signal(14))
    same(c.device.signal()['seq'], 14)


# --- silence

@row()
def a_ping_is_answered(c):
    node, link = connected(c)
    link.frame(9, b'are you there')
    same(link.hear('pong')[1], b'are you there')


@row()
def a_silent_node_is_asked_and_then_given_up(c):
    node, link = connected(c, ping=1)
    begun = time.monotonic()
    same(node.request().query['since'], token(10))
    true(time.monotonic() - begun >= 6, 'twice ping_s and five seconds')


# --- the end

@row()
def close_says_goodbye(c):
    node, link = connected(c)
    c.device.do('close')
    link.hear_close(1000)
    c.device.next('closed')
    node.no_request('connect', 0.3)


# --- bundles

BODY = b'{"stages":{"live":"Watch now"}}'


def bundle_headers(body, version, **more):
    digest = hashlib.sha256(body).hexdigest()
    return {'ETag': f'"{digest}"', 'Kickoff_Bundle': str(version), 'Kickoff_Hash': f'sha-256={digest}',
            'Cache_Control': 'public, max-age=300', 'Content_Type': 'application/json', **more}


def told_of_bundle(c, version=1, prefetch_ms=100, **options):
    node = c.node()
    c.device.connect(node, prefetch=True, **options)
    link = node.link()
    link.say(hello(10, False, prefetch_ms=prefetch_ms), reset(10, state(bundle=version)))
    c.device.next('reset')
    return node, link


@row('prefetch')
def a_bundle_is_fetched_for_its_cohort_and_shown(c):
    node, link = told_of_bundle(c, cohort='north')
    request = node.request('prefetch')
    same((request.path, request.query), ('/v1/prefetch/final', {'cohort': 'north'}))
    request.answer(200, BODY, **bundle_headers(BODY, 1))
    got = c.device.next('bundle')
    same((got['of'], got['bundle'], got['hash'], got['size'], got['from']),
         ('final', 1, hashlib.sha256(BODY).hexdigest(), len(BODY), 'network'))


@row('prefetch')
def wrong_bytes_are_never_shown(c):
    node, link = told_of_bundle(c)
    node.request('prefetch').answer(200, BODY + b' ', **bundle_headers(BODY, 1))
    node.request('prefetch').answer(200, b'', **bundle_headers(BODY, 1))
    node.request('prefetch').answer(200, BODY, **bundle_headers(BODY, 1))
    same(c.device.next('bundle')['size'], len(BODY))
    same(len(c.device.seen('bundle')), 1)


@row('prefetch')
def a_packed_bundle_is_unpacked_before_it_is_compared(c):
    node, link = told_of_bundle(c)
    request = node.request('prefetch')
    true('gzip' in request.headers.get('accept-encoding', ''), 'gzip is accepted')
    request.answer(200, gzip.compress(BODY), **bundle_headers(BODY, 1, Content_Encoding='gzip'))
    got = c.device.next('bundle')
    same((got['hash'], got['size']), (hashlib.sha256(BODY).hexdigest(), len(BODY)))


@row('prefetch')
def a_body_without_a_hash_is_not_shown(c):
    node, link = told_of_bundle(c)
    node.request('prefetch').answer(200, BODY, Kickoff_Bundle='1')
    node.request('prefetch').answer(200, BODY, **bundle_headers(BODY, 1))
    c.device.next('bundle')
    same(len(c.device.seen('bundle')), 1)


@row('prefetch')
def fetching_is_spread_over_the_span_of_hello(c):
    node = c.node()
    c.device.connect(node, prefetch=True)
    link = node.link()
    begun = time.monotonic()
    link.say(hello(10, False, prefetch_ms=4000), reset(10, *(state(f'e{i}', bundle=1) for i in range(8))))
    came = []
    for _ in range(8):  # each is answered: an SDK may fetch one at a time
        request = node.request('prefetch')
        came.append(request.came - begun)
        request.answer(200, BODY, **bundle_headers(BODY, 1))
    same(sorted(c.device.next('bundle')['of'] for _ in range(8)), [f'e{i}' for i in range(8)])
    true(max(came) > 0.3, f'random moments of 4 s, not {came}')


@row('prefetch')
def a_refresh_is_fetched_within_its_window(c):
    node, link = told_of_bundle(c)
    node.request('prefetch').answer(200, BODY, **bundle_headers(BODY, 1))
    c.device.next('bundle')
    newer = BODY + b'\n'
    link.say(signal(11, kind='refresh', stage='scheduled', bundle=2, window_ms=300))
    node.request('prefetch').answer(200, newer, **bundle_headers(newer, 2))
    got = c.device.next('bundle')
    same((got['bundle'], got['size']), (2, len(newer)))


@row('prefetch')
def a_version_held_is_not_fetched_again(c):
    node, link = told_of_bundle(c)
    node.request('prefetch').answer(200, BODY, **bundle_headers(BODY, 1))
    c.device.next('bundle')
    link.say(signal(11, bundle=1, window_ms=50))
    c.device.signal()
    node.no_request('prefetch', 0.5)


@row('prefetch')
def unchanged_bytes_are_not_sent_again(c):
    node, link = told_of_bundle(c)
    node.request('prefetch').answer(200, BODY, **bundle_headers(BODY, 1))
    c.device.next('bundle')
    link.say(signal(11, kind='refresh', stage='scheduled', bundle=2, window_ms=50))
    request = node.request('prefetch')
    true(f'"{hashlib.sha256(BODY).hexdigest()}"' in request.headers.get('if-none-match', '').split(', '), 'asked by its tag')
    request.answer(304, **bundle_headers(BODY, 2))
    got = c.device.next('bundle')
    same((got['bundle'], got['from'], got['size']), (2, 'cache', len(BODY)))


@row('prefetch')
def a_bundle_not_there_yet_is_asked_for_after_its_lifetime(c):
    node, link = told_of_bundle(c)
    request = node.request('prefetch')
    told = time.monotonic()
    request.answer(404, Cache_Control='public, max-age=1')
    request = node.request('prefetch')
    true(request.came - told >= 0.5, 'not at once')
    request.answer(200, BODY, **bundle_headers(BODY, 1))
    c.device.next('bundle')


@row('prefetch')
def retry_after_of_a_bundle_is_waited_for(c):
    node, link = told_of_bundle(c)
    request = node.request('prefetch')
    told = time.monotonic()
    request.answer(503, Retry_After='2')
    true(node.request('prefetch').came - told >= 2, 'as long as it was asked to')


@row('prefetch')
def an_event_that_is_over_is_not_fetched_for(c):
    node = c.node()
    c.device.connect(node, prefetch=True)
    node.link().say(hello(10, False, prefetch_ms=50), reset(10, state(stage='ended', bundle=3)))
    c.device.next('reset')
    node.no_request('prefetch', 0.5)


# --- Server-Sent Events

@row('sse')
def where_websockets_fail_it_reads_the_stream(c):
    node = c.node()
    c.device.connect(node, since=token(10), platform='tv')
    for _ in range(3):
        node.request().cut()
    request = node.request('stream')
    for name, value in {'device': 'd-1', 'since': token(10), 'platform': 'tv'}.items():
        same(request.query.get(name), value, name)
    stream = request.stream()
    stream.say(hello(10, True))
    stream.ping()
    stream.say(signal(11), signal(11), signal(12))
    same([c.device.signal()['seq'] for _ in range(2)], [11, 12])
    stream.cut()
    same(node.request('stream').query['since'], token(12))


@row('sse')
def where_upgrades_are_stripped_it_reads_the_stream_at_once(c):
    node = c.node()
    c.device.connect(node)
    node.request().answer(426)
    node.request('stream').stream().say(hello(0, False), reset(0))
    c.device.next('reset')


@row('sse')
def a_node_without_a_stream_is_asked_by_websocket(c):
    node = c.node()
    c.device.connect(node)
    for _ in range(3):
        node.request().cut()
    node.request('stream').answer(404)
    node.link().say(hello(0, False), reset(0))
    c.device.next('reset')


@row('sse')
def a_stream_is_left_as_the_node_says(c):
    node = c.node()
    c.device.connect(node, since=token(10))
    node.request().answer(426)
    first = node.request('stream').stream()
    first.say(hello(10, True), goaway('drain', 0, 50))
    second = node.request('stream').stream()
    first.say(signal(11))
    c.device.signal()
    second.say(hello(10, True), signal(11), signal(12))
    same(c.device.signal()['seq'], 12)
    first.wait_end()


# --- a real node

@row(real=True)
def the_scripted_node_speaks_as_a_real_one(c):
    node = c.real()
    node.create()
    c.device.connect(node)
    said = {'hello': c.device.next('hello')['message'], 'reset': c.device.next('reset')['message']}
    node.change('/v1/events/final/start')
    said['signal'] = c.device.signal()
    ours = {'hello': hello(1, False), 'reset': reset(1, state()), 'signal': signal(2)}
    for name, message in ours.items():
        optional = {'prefetch_ms', 'window_ms'}
        same(sorted(set(said[name]) - optional), sorted(set(message) - optional), f'fields of {name}')
        for field, value in message.items():
            same(type(said[name][field]), type(value), f'type of {name}.{field}')
    same(sorted(said['reset']['events'][0]), sorted(state()), 'fields of an event')


@row(real=True)
def a_real_node_tells_a_newcomer_the_state_and_then_each_signal_once(c):
    node = c.real()
    node.create()
    c.device.connect(node)
    message = c.device.next('reset')['message']
    same((message['reason'], [event['event'] for event in message['events']]), ('new', ['final']))
    for path in ('start', 'stage', 'end'):
        node.change(f'/v1/events/final/{path}', {'stage': 'halftime'} if path == 'stage' else {})
    same([c.device.signal()['stage'] for _ in range(3)], ['live', 'halftime', 'ended'])
    same(len(c.device.seen('signal')), 3)


@row(real=True)
def a_real_node_gives_what_was_missed(c):
    node = c.real()
    node.create()
    c.device.connect(node)
    c.device.next('hello')
    place = c.device.next('reset')['message']['token']
    c.device.do('close')
    c.device.next('closed')
    node.change('/v1/events/final/start')
    node.change('/v1/events/final/stage', {'stage': 'halftime'})
    c.device.connect(node, since=place)
    same(c.device.next('hello')['message']['recovered'], True)
    same([c.device.signal()['stage'] for _ in range(2)], ['live', 'halftime'])


@row(real=True)
def a_real_node_resets_a_token_that_is_not_its_own(c):
    node = c.real()
    c.device.connect(node, since=token(3))
    same(c.device.next('reset')['message']['reason'], 'unknown')


@row(real=True)
def a_real_node_counts_the_ack_and_the_moment_of_acting(c):
    node = c.real('--ack-spread', '1s')
    node.create()
    c.device.connect(node)
    c.device.next('reset')
    seq = node.change('/v1/events/final/start')['seq']
    c.device.signal()
    c.device.do('activated', seq=seq)
    node.until('an ack in the report', lambda: total(node, seq).get('acked') == 1)
    same(total(node, seq).get('said'), 1, 'devices that said when')


@row(real=True)
def a_real_node_expects_no_ack_from_the_silent(c):
    node = c.real('--ack-spread', '0s')
    node.create()
    c.device.connect(node, ack=False)
    c.device.next('reset')
    seq = node.change('/v1/events/final/start')['seq']
    c.device.signal()
    node.until('the device in the report', lambda: total(node, seq).get('written') == 1)
    same((total(node, seq)['silent'], total(node, seq)['acked']), (1, 0))


def total(node, seq):
    status, answer = node.ask('GET', f'/v1/signals/{seq}')
    report = (answer or {}).get('report') or {}
    return report.get('total') or report


@row('skew', real=True)
def a_real_nodes_clock_is_found_out(c):
    node = c.real()
    c.device.connect(node, skew_ms=-5000)
    c.device.next('reset')
    offset = wait_offset(c, lambda ms: abs(ms - 5000) < 250)
    true(abs(offset - 5000) < 250, f'{offset} is 5000')


@row('due', 'skew', real=True)
def a_real_start_with_lead_is_acted_on_at_its_moment(c):
    node = c.real()
    node.create()
    c.device.connect(node, due=True, skew_ms=5000)
    c.device.next('reset')
    node.change('/v1/events/final/start', {'lead': '1500ms'})
    at = c.device.signal()['at']
    while True:
        due = c.device.next('due')
        if due['stage'] == 'live':
            break
    true(time.time() * 1000 >= at - 100, 'not before')
    true(due['node_ms'] >= at, 'nor by its own count')


@row('prefetch', real=True)
def a_real_bundle_is_fetched_and_again_after_a_refresh(c):
    node = c.real()
    node.create()
    node.publish(BODY)
    c.device.connect(node, prefetch=True)
    got = c.device.next('bundle', 60)
    same((got['bundle'], got['hash']), (1, hashlib.sha256(BODY).hexdigest()))
    newer = BODY + b'\n'
    node.change('/v1/events/final/bundles/default', newer, 'PUT')
    node.change('/v1/events/final/bundles', {'window': '200ms'})
    got = c.device.next('bundle', 90)
    same((got['bundle'], got['hash']), (2, hashlib.sha256(newer).hexdigest()))


@row('hand-over', real=True)
def a_real_recycling_leaves_no_gap(c):
    node = c.real('--lifetime', '10s', '--guard', '0s')
    node.create()
    c.device.connect(node)
    c.device.next('reset')
    end = time.monotonic() + 90
    while len(c.device.seen('hello')) < 2:
        true(time.monotonic() < end, 'a second hello')
        node.change('/v1/events/final/refresh', {'window': '1s'})
        time.sleep(0.2)
    seqs = [line['message']['seq'] for line in c.device.seen('signal')]
    same(seqs, list(range(seqs[0], seqs[0] + len(seqs))), 'numbers')
    same([line['message']['recovered'] for line in c.device.seen('hello')], [False, True])
    states = [line['state'] for line in c.device.seen('state')]
    same(states.count('waiting'), 0, 'times without a connection')


class MiddleBox:
    """Passes HTTP on and drops every WebSocket: the networks that /v1/stream is for."""

    def __init__(self, port):
        self.port = port
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.url = f'ws://127.0.0.1:{self.listener.getsockname()[1]}'
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        first = b''
        while b'\r\n\r\n' not in first:  # a head may come in pieces
            more = sock.recv(65536)
            if not more:
                sock.close()
                return
            first += more
        if b'upgrade: websocket' in first.lower():
            sock.close()
            return
        node = socket.create_connection(('127.0.0.1', self.port))
        node.sendall(first)
        threading.Thread(target=self._pump, args=(sock, node), daemon=True).start()
        self._pump(node, sock)

    @staticmethod
    def _pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for sock in (source, sink):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


@row('sse', real=True)
def a_real_stream_is_the_same_session(c):
    node = c.real()
    node.create()
    with socket.create_connection(('127.0.0.1', node.port)) as probe:
        probe.sendall(b'GET /v1/stream?device=probe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        if b' 404 ' in probe.recv(4096).split(b'\r\n')[0]:
            raise Skipped('this node has no /v1/stream')
    c.device.connect(MiddleBox(node.port))
    c.device.next('reset', 60)
    node.change('/v1/events/final/start')
    same(c.device.signal()['stage'], 'live')
    same(c.device.next('hello')['message']['recovered'], False)
    c.device.do('cut')
    # Else the end could still come by the first stream: a driver takes its commands when it gets to them.
    same(c.device.next('hello', 60)['message']['recovered'], True)
    node.change('/v1/events/final/end')
    same(c.device.signal()['stage'], 'ended')
    same(len(c.device.seen('hello')), 2)


@row('attributes', 'skip', real=True)
def a_real_node_tells_only_those_it_is_for(c):
    node = c.real()
    node.create()
    c.device.connect(node, platform='tv')
    c.device.next('reset')
    for platform in ('web', 'web', 'tv'):
        status, answer = node.ask('POST', '/v1/events/final/refresh', {'window': '1s', 'attributes': {'platform': [platform]}})
        if status >= 300 and 'attributes' in json.dumps(answer):
            raise Skipped('this node has no targeting')
        true(status < 300, f'{status} {answer}')
    same(c.device.signal()['seq'], answer['seq'])
    same(c.device.ask()['token'], answer['token'])


@row(real=True)
def a_real_node_closes_the_older_of_two_with_one_id(c):
    node = c.real()
    c.device.connect(node)
    c.device.next('reset')
    other = c.another()
    other.connect(node)
    other.next('reset')
    try:
        c.device.next('goaway', 5)
    except Failed:
        raise Skipped('this node lets two live') from None
    c.device.until_state('stopped')
    same(other.ask()['state'], 'connected')
