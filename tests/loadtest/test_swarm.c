/* A swarm against a scripted node that lives in the same thread: the node is moved on each time the
 * swarm reports, so that what happens depends on no clock. */
#include "loadtest/swarm.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/buf.h"
#include "base/clock.h"
#include "loadtest/inbox.h"
#include "proto/ws.h"

#define DEVICES 20
#define EPOCH   0x77
#define PEERS   256

struct peer {
        int fd; /* -1: none */
        bool is_device;
        enum encoding encoding;
};

static struct {
        int listener;
        struct net_target targets[NET_TARGETS_MAX];
        struct peer peers[PEERS];
        unsigned n, refusals; /* refuse so many handshakes with `refuse_status` */
        unsigned refuse_status;
        bool body_is_wrong, forge_tags;
        seqno head;
        uint64_t acks;
        unsigned connects;
        int64_t acts_at; /* of its signals */
} node;

static struct swarm_board board;
static struct swarm_result result;
static void (*script)(const struct swarm_counts *counts);
static unsigned step;
static uint64_t deadline_ms;

static struct token at(seqno seq)
{
        return (struct token){ .epoch = EPOCH, .seq = seq, .tag = seq * 7 + 1 };
}

static void node_open(void)
{
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(address);
        const char *why;
        char url[64];
        unsigned n;

        memset(&node, 0, sizeof(node));
        node.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        cr_assert(zero(int, bind(node.listener, (struct sockaddr *)&address, len)));
        cr_assert(zero(int, listen(node.listener, PEERS)));
        getsockname(node.listener, (struct sockaddr *)&address, &len);
        snprintf(url, sizeof(url), "ws://127.0.0.1:%u", ntohs(address.sin_port));
        cr_assert(eq(int, net_parse_targets(url, node.targets, &n, &why), OK));
        memset(&board, 0, sizeof(board));
        step = 0;
}

static void node_cut(void)
{
        for (unsigned i = 0; i < node.n; i++)
                if (node.peers[i].fd >= 0)
                        close(node.peers[i].fd);
        node.n = 0;
}

static void node_close(void)
{
        node_cut();
        close(node.listener);
}

static void send_message(const struct peer *peer, const struct message *message)
{
        struct buf payload = BUF_INIT;
        uint8_t header[WS_HEADER_MAX];
        size_t n;

        message_encode(message, peer->encoding, &payload);
        n = ws_header(header, peer->encoding == ENCODING_JSON ? WS_TEXT : WS_BINARY, payload.len);
        send(peer->fd, header, n, MSG_NOSIGNAL);
        send(peer->fd, payload.data, payload.len, MSG_NOSIGNAL);
        buf_fini(&payload);
}

static void send_signal(const struct peer *peer, seqno seq)
{
        struct message message = { .type = MESSAGE_SIGNAL,
                                   .signal = { .token = at(seq),
                                               .kind = SIGNAL_START,
                                               .state = { .event = "cup",
                                                          .stage = "live",
                                                          .at = node.acts_at,
                                                          .version = 10 + seq,
                                                          .bundle = 1 },
                                               .sent = clock_wall_ms() } };

        if (node.forge_tags && peer->fd % 2 == 0)
                message.signal.token.tag ^= 1;
        send_message(peer, &message);
}

static void node_broadcast(seqno seq)
{
        for (unsigned i = 0; i < node.n; i++)
                if (node.peers[i].fd >= 0 && node.peers[i].is_device)
                        send_signal(&node.peers[i], seq);
        node.head = seq;
        board.head_epoch = EPOCH;
        board.head_seq = seq;
}

static void greet(struct peer *peer, const char *request)
{
        const char *since = strstr(request, "since="),
                   *key = strstr(request, "Sec-WebSocket-Key: ");
        struct message message = { .type = MESSAGE_HELLO,
                                   .hello = { .node = "script",
                                              .session = "0123456789abcdef",
                                              .token = at(node.head),
                                              .now = clock_wall_ms(),
                                              .ping_s = 50,
                                              .lifetime_s = 60,
                                              .recovered = since != NULL } };
        char accept[29], head[512];
        struct token from;

        node.connects++;
        if (node.refusals > 0) {
                node.refusals--;
                snprintf(head, sizeof(head),
                         "HTTP/1.1 %u No\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
                         node.refuse_status);
                send(peer->fd, head, strlen(head), MSG_NOSIGNAL);
                return;
        }
        peer->is_device = true;
        peer->encoding = strstr(request, "msgpack") != NULL ? ENCODING_MSGPACK : ENCODING_JSON;
        ws_accept_key(key + 19, accept);
        snprintf(head, sizeof(head),
                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
                 accept, encoding_subprotocol[peer->encoding]);
        send(peer->fd, head, strlen(head), MSG_NOSIGNAL);
        send_message(peer, &message);
        if (since == NULL) {
                message =
                    (struct message){ .type = MESSAGE_RESET,
                                      .reset = { .reason = RESET_NEW, .token = at(node.head) } };
                send_message(peer, &message);
                return;
        }
        cr_assert(eq(int, token_parse(since + 6, strcspn(since + 6, "& "), &from), OK));
        for (seqno seq = from.seq + 1; seq <= node.head; seq++)
                send_signal(peer, seq);
}

static void hand_out_bundle(struct peer *peer)
{
        char answer[512];

        snprintf(answer, sizeof(answer),
                 "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"
                 "ETag: \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\r\n"
                 "Kickoff-Bundle: 1\r\nConnection: close\r\n\r\n%s",
                 node.body_is_wrong ? "abd" : "abc"); /* SHA-256 of "abc": FIPS 180-4, example */
        send(peer->fd, answer, strlen(answer), MSG_NOSIGNAL);
}

static void serve(struct peer *peer)
{
        char bytes[4096];
        ssize_t n = recv(peer->fd, bytes, sizeof(bytes) - 1, MSG_DONTWAIT);

        if (n < 0)
                return;
        if (n == 0) {
                close(peer->fd);
                peer->fd = -1;
                return;
        }
        bytes[n] = '\0';
        if (peer->is_device) {
                if ((bytes[0] & 0x0f) == WS_CLOSE) { /* answer and close, as a node does */
                        send(peer->fd, "\x88\x00", 2, MSG_NOSIGNAL);
                        close(peer->fd);
                        peer->fd = -1;
                } else {
                        cr_expect(ne(int, bytes[1] & 0x80, 0), "a client masks its frames");
                        node.acks++;
                }
        } else if (strncmp(bytes, "GET /v1/connect?", 16) == 0) {
                greet(peer, bytes);
        } else if (strncmp(bytes, "GET /v1/prefetch/cup?cohort=default ", 36) == 0) {
                hand_out_bundle(peer);
        } else {
                cr_fail("unexpected request: %s", bytes);
        }
}

static void on_report(void *owner, const struct swarm_counts *counts)
{
        int fd;

        (void)owner;
        while ((fd = accept(node.listener, NULL, NULL)) >= 0) {
                cr_assert(lt(uint, node.n, PEERS));
                node.peers[node.n++] = (struct peer){ .fd = fd };
        }
        for (unsigned i = 0; i < node.n; i++)
                if (node.peers[i].fd >= 0)
                        serve(&node.peers[i]);
        script(counts);
        if (clock_mono_ms() > deadline_ms) { /* a test that hangs is a test that failed */
                cr_fail("no end after 20 s, in step %u", step);
                board.phase = SWARM_FINISH;
        }
}

static struct series series;

static void on_sample(void *owner, const struct series_sample *sample)
{
        series_add(owner, sample);
}

/* `options`: what is not as in most tests. */
static void run_swarm_as(struct swarm_options options,
                         void (*with_script)(const struct swarm_counts *))
{
        struct swarm *swarm;

        options.n = DEVICES;
        options.targets = node.targets;
        options.n_targets = 1;
        options.event = "cup";
        options.encodings = SWARM_BOTH;
        options.seed = 42;
        options.board = &board;
        options.report_every_ms = 1;
        options.on_sample = on_sample;
        options.sample_owner = &series;
        board.origin_us = clock_mono_us();
        series_fini(&series);
        script = with_script;
        deadline_ms = clock_mono_ms() + 20000;
        cr_assert(eq(int, swarm_create(&options, on_report, NULL, &swarm), OK));
        swarm_run(swarm, &result);
        swarm_destroy(swarm);
}

static void run_swarm(void (*with_script)(const struct swarm_counts *))
{
        run_swarm_as((struct swarm_options){ 0 }, with_script);
}

static void finish_if(bool done)
{
        if (done)
                board.phase = SWARM_FINISH;
}

TestSuite(swarm, .init = node_open, .fini = node_close);

/* --- everything right ------------------------------------------------------------------------ */

static void script_two_signals(const struct swarm_counts *counts)
{
        if (step == 0 && counts->prefetched == DEVICES) {
                board.base_version = 10;
                board.asked_us[0] = clock_wall_ms() * 1000;
                node_broadcast(1);
                step = 1;
        } else if (step == 1 && counts->at_head == DEVICES) {
                node_broadcast(2);
                step = 2;
        } else if (step == 2) {
                finish_if(counts->tally.delivered == 2 * DEVICES && node.acks >= DEVICES);
        }
}

Test(swarm, every_device_connects_prefetches_and_gets_every_signal)
{
        run_swarm(script_two_signals);
        cr_assert(eq(u64, result.counts.connected_once, DEVICES));
        cr_assert(eq(u64, result.counts.prefetched, DEVICES));
        cr_assert(eq(u64, result.counts.tally.delivered, 2 * DEVICES));
        cr_assert(eq(u64, result.counts.flawed, 0));
        cr_assert(eq(u64, result.counts.behind, 0));
        cr_assert(eq(u64, result.timings[TIMING_START].total, DEVICES));
        cr_assert(eq(u64, result.timings[TIMING_CONNECT].total, DEVICES));
}

/* --- cut in mid-run -------------------------------------------------------------------------- */

static void script_cut(const struct swarm_counts *counts)
{
        if (step == 0 && counts->prefetched == DEVICES) {
                node_broadcast(1);
                step = 1;
        } else if (step == 1 && counts->at_head == DEVICES) {
                node_cut();
                node_broadcast(2); /* to nobody: all must have it by resuming */
                step = 2;
        } else if (step == 2) {
                finish_if(counts->tally.delivered == 2 * DEVICES);
        }
}

Test(swarm, cut_devices_resume_with_their_token_and_are_complete)
{
        run_swarm(script_cut);
        cr_assert(eq(u64, result.counts.reconnects, DEVICES));
        cr_assert(eq(u64, result.counts.lost_connections, DEVICES));
        cr_assert(eq(u64, result.counts.flawed, 0));
        cr_assert(eq(u64, result.counts.behind, 0));
        cr_assert(eq(u64, result.counts.tally.resets[RESET_NEW], 0));
}

/* --- what must be told ----------------------------------------------------------------------- */

static void script_gap(const struct swarm_counts *counts)
{
        if (step == 0 && counts->prefetched == DEVICES) {
                node_broadcast(1);
                node_broadcast(3);
                step = 1;
        } else if (step == 1) {
                finish_if(counts->tally.delivered == 2 * DEVICES);
        }
}

Test(swarm, lost_signal_is_told_for_each_device)
{
        run_swarm(script_gap);
        cr_assert(eq(u64, result.counts.tally.missing, DEVICES));
        cr_assert(eq(u64, result.counts.flawed, DEVICES));
}

static void script_behind(const struct swarm_counts *counts)
{
        if (step == 0 && counts->prefetched == DEVICES) {
                node_broadcast(1);
                step = 1;
        } else if (step == 1 && counts->at_head == DEVICES) {
                board.head_seq = 4;
                finish_if(true);
        }
}

Test(swarm, signal_that_never_came_is_told_at_the_end)
{
        run_swarm(script_behind);
        cr_assert(eq(u64, result.counts.behind, 3 * DEVICES));
        cr_assert(eq(u64, result.counts.at_head, 0));
}

static void script_forged(const struct swarm_counts *counts)
{
        if (step == 0 && counts->prefetched == DEVICES) {
                node_broadcast(1);
                step = 1;
        } else if (step == 1) {
                finish_if(counts->tally.delivered + counts->tally.foreign == DEVICES);
        }
}

Test(swarm, two_tags_for_one_number_are_told)
{
        node.forge_tags = true;
        run_swarm(script_forged);
        cr_assert(gt(u64, result.counts.tally.foreign, 0));
}

static void script_prefetch_fails(const struct swarm_counts *counts)
{
        finish_if(counts->prefetch_failed + counts->prefetched == DEVICES);
}

Test(swarm, bundle_that_does_not_match_its_etag_is_a_failure)
{
        node.body_is_wrong = true;
        run_swarm(script_prefetch_fails);
        cr_assert(eq(u64, result.counts.prefetch_failed, DEVICES));
        cr_assert(eq(u64, result.counts.prefetched, 0));
}

/* --- refusals -------------------------------------------------------------------------------- */

static void script_connected(const struct swarm_counts *counts)
{
        finish_if(counts->connected_once + counts->gave_up == DEVICES);
}

Test(swarm, overloaded_node_is_asked_again)
{
        node.refusals = DEVICES;
        node.refuse_status = 503;
        run_swarm(script_connected);
        cr_assert(eq(u64, result.counts.connected_once, DEVICES));
        cr_assert(eq(u64, result.counts.refused, DEVICES));
        cr_assert(eq(u64, result.counts.gave_up, 0));
}

Test(swarm, refusal_for_good_is_not_asked_again)
{
        node.refusals = PEERS;
        node.refuse_status = 403;
        run_swarm(script_connected);
        cr_assert(eq(u64, result.counts.gave_up, DEVICES));
        cr_assert(eq(uint, node.connects, DEVICES));
        cr_assert(eq(u64, result.counts.last_refusal, 403));
}

/* --- devices as they are --------------------------------------------------------------------- */

static uint64_t count_role(const struct model *model, enum model_role role)
{
        uint64_t n = 0;

        for (uint32_t i = 0; i < DEVICES; i++)
                n += model_role(model, i) == role;
        return n;
}

static const struct model some_dead = { .dead = 2000 }, some_slow = { .slow = 5000 };
static uint64_t brisk;

static void script_one_signal(const struct swarm_counts *counts)
{
        if (step == 0 && counts->prefetched == brisk && counts->connected_once == DEVICES) {
                node_broadcast(1);
                step = 1;
        } else if (step == 1) {
                finish_if(counts->at_head == brisk && counts->judged_seq == 1);
        }
}

Test(swarm, nothing_is_expected_of_the_dead)
{
        brisk = count_role(&some_dead, MODEL_BRISK);
        run_swarm_as((struct swarm_options){ .model = some_dead }, script_one_signal);
        cr_assert(lt(u64, brisk, DEVICES));
        cr_assert(eq(u64, result.counts.dead, DEVICES - brisk));
        cr_assert(eq(u64, result.counts.excused, DEVICES - brisk));
        cr_assert(eq(u64, result.counts.tally.delivered, brisk));
        cr_assert(eq(u64, result.counts.behind, 0));
        cr_assert(eq(u64, result.counts.connected_once, DEVICES), "they did connect");
}

static void script_sleep(const struct swarm_counts *counts)
{
        uint64_t stuck = count_role(&some_slow, MODEL_STUCK);

        if (step == 0 && counts->prefetched == DEVICES) {
                board.base_version = 10;
                board.asked_us[0] = clock_wall_ms() * 1000;
                node_broadcast(1);
                step = 1;
        } else if (step == 1 && counts->judged_seq == 1 && counts->at_head == brisk) {
                node_broadcast(2);
                step = 2;
        } else if (step == 2 && counts->judged_seq == 2 && counts->at_head == brisk) {
                cr_expect(le(u64, counts->tally.delivered, 2 * (DEVICES - stuck)),
                          "who is stuck reads nothing");
                board.is_asleep = 0;
                step = 3;
        } else if (step == 3) {
                finish_if(counts->at_head == DEVICES);
        }
}

Test(swarm, the_slow_are_excused_while_they_sleep_and_whole_when_they_wake)
{
        brisk = count_role(&some_slow, MODEL_BRISK);
        board.is_asleep = 1;
        run_swarm_as((struct swarm_options){ .model = some_slow }, script_sleep);
        cr_assert(lt(u64, brisk, DEVICES));
        cr_assert(eq(u64, result.counts.excused, 0));
        cr_assert(eq(u64, result.counts.tally.delivered, 2 * DEVICES));
        cr_assert(eq(u64, result.counts.flawed, 0));
        cr_assert(eq(u64, result.timings[TIMING_START].total, brisk),
                  "how late the others were is their own doing");
        cr_assert(eq(u64, result.counts.told, DEVICES));
}

static void script_stampede(const struct swarm_counts *counts)
{
        if (step == 0 && counts->connected_once == DEVICES) {
                cr_expect(zero(u64, counts->prefetched));
                board.base_version = 10;
                board.asked_us[0] = clock_wall_ms() * 1000;
                node_broadcast(1);
                step = 1;
        } else if (step == 1) {
                finish_if(counts->shown == DEVICES);
        }
}

Test(swarm, in_a_stampede_all_fetch_when_they_are_told)
{
        run_swarm_as((struct swarm_options){ .fetches_at_start = true,
                                             .fetch_slots = DEVICES,
                                             .late_ms = 60000,
                                             .model = { .think_ms = 5, .jitter_ms = 5 } },
                     script_stampede);
        cr_assert(eq(u64, result.counts.told, DEVICES));
        cr_assert(eq(u64, result.counts.prefetched, DEVICES));
        cr_assert(eq(u64, result.counts.shown_late, 0));
        cr_assert(eq(u64, result.timings[TIMING_SHOWN].total, DEVICES));
        cr_assert(eq(u64, series_total(&series, SERIES_REQUESTS), DEVICES));
        cr_assert(eq(u64, series_total(&series, SERIES_SHOWN), DEVICES));
}

Test(swarm, a_screen_that_waits_for_its_content_is_late)
{
        run_swarm_as((struct swarm_options){ .fetches_at_start = true,
                                             .late_ms = 0,
                                             .model = { .think_ms = 0, .jitter_ms = 0 } },
                     script_stampede);
        cr_assert(eq(u64, result.counts.shown_late, DEVICES));
}

static void script_herd_cuts(const struct swarm_counts *counts)
{
        if (step == 0 && counts->prefetched == DEVICES) {
                node_broadcast(1);
                step = 1;
        } else if (step == 1 && counts->at_head == DEVICES) {
                board.cut_round = 1;
                step = 2;
        } else if (step == 2) {
                finish_if(counts->reconnects == DEVICES);
        }
}

Test(swarm, a_cut_of_the_herds_own_ends_every_connection_once)
{
        run_swarm(script_herd_cuts);
        cr_assert(eq(u64, result.counts.cut, DEVICES));
        cr_assert(eq(u64, result.counts.flawed, 0));
        cr_assert(eq(u64, result.timings[TIMING_BACK].total, DEVICES));
        cr_assert(eq(u64, series_total(&series, SERIES_WELCOMES), 2 * DEVICES));
        cr_assert(eq(u64, series_total(&series, SERIES_BACK), DEVICES));
        cr_assert(eq(u64, series_total(&series, SERIES_ENDS), DEVICES));
}

static void script_churn(const struct swarm_counts *counts)
{
        if (step == 0 && counts->prefetched == DEVICES) {
                node_broadcast(1);
                board.churn = 100 * 60 * MODEL_SHARE_WHOLE / DEVICES; /* 100 each second */
                step = 1;
        } else if (step == 1 && counts->churned >= 6) {
                board.churn = 0;
                step = 2;
        } else if (step == 2) {
                finish_if(counts->open == DEVICES && counts->at_head == DEVICES);
        }
}

Test(swarm, who_drops_out_comes_back_by_its_token)
{
        run_swarm(script_churn);
        cr_assert(ge(u64, result.counts.churned, 6));
        cr_assert(eq(u64, result.counts.reconnects, result.counts.churned));
        cr_assert(eq(u64, result.counts.tally.resets[RESET_NEW], 0));
        cr_assert(eq(u64, result.counts.flawed, 0));
}

/* --- let go ---------------------------------------------------------------------------------- */

static void script_keep(const struct swarm_counts *counts)
{
        if (step == 0 && counts->prefetched == DEVICES) {
                board.keep = 15;
                step = 1;
        } else if (step == 1 && counts->left == DEVICES - 15) {
                node_broadcast(1);
                step = 2;
        } else if (step == 2) {
                finish_if(counts->judged_seq == 1 && counts->at_head == 15);
        }
}

Test(swarm, nothing_is_expected_of_those_who_were_let_go)
{
        run_swarm(script_keep);
        cr_assert(eq(u64, result.counts.left, DEVICES - 15));
        cr_assert(eq(u64, result.counts.open, 15));
        cr_assert(eq(u64, result.counts.tally.delivered, 15));
        cr_assert(eq(u64, result.counts.behind, 0));
        cr_assert(eq(u64, result.counts.lost_connections + result.counts.reconnects, 0));
}

static void script_lose(const struct swarm_counts *counts)
{
        if (step == 0 && counts->prefetched == DEVICES) {
                board.lose = 2;
                step = 1;
        } else if (step == 1 && counts->open == DEVICES - 2) {
                node_broadcast(1);
                step = 2;
        } else if (step == 2) {
                finish_if(counts->judged_seq == 1 && counts->at_head == DEVICES - 2);
        }
}

Test(swarm, who_is_lost_on_purpose_is_told_as_behind)
{
        run_swarm(script_lose);
        cr_assert(eq(u64, result.counts.behind, 2));
        cr_assert(eq(u64, result.counts.left, 0));
        cr_assert(eq(u64, result.counts.reconnects, 0));
}

/* --- clocks of their own --------------------------------------------------------------------- */

static void script_announce(const struct swarm_counts *counts)
{
        if (step == 0 && counts->connected_once == DEVICES) {
                board.base_version = 10;
                board.asked_us[0] = clock_wall_ms() * 1000;
                node.acts_at = clock_wall_ms() + 300;
                node_broadcast(1);
                step = 1;
        } else if (step == 1) {
                finish_if(counts->acted == DEVICES && counts->at_head == DEVICES);
        }
}

Test(swarm, devices_with_wrong_clocks_wait_for_the_moment_named)
{
        run_swarm_as((struct swarm_options){ .keeps_time = true,
                                             .skew_ms = 5000,
                                             .no_prefetch = true },
                     script_announce);
        cr_assert(eq(u64, result.counts.acted, DEVICES));
        cr_assert(eq(u64, result.moments.total, DEVICES));
        /* hello is heard a little after it was said, so that what is reckoned from it alone is late;
         * whole milliseconds make it early by two at most. When it was told was 300 ms before. */
        cr_assert(ge(i64, result.moments.first_us, -2000));
}

static void script_two_starts(const struct swarm_counts *counts)
{
        if (step == 0 && counts->connected_once == DEVICES) {
                board.base_version = 10;
                board.asked_us[0] = clock_wall_ms() * 1000;
                node_broadcast(1);
                step = 1;
        } else if (step == 1 && counts->acted == DEVICES) {
                node_broadcast(2);
                step = 2;
        } else if (step == 2) {
                finish_if(counts->tally.delivered == 2 * DEVICES);
        }
}

Test(swarm, what_is_for_now_is_done_when_it_is_heard)
{
        node.acts_at = 1;
        run_swarm_as((struct swarm_options){ .keeps_time = true, .no_prefetch = true },
                     script_two_starts);
        cr_assert(eq(u64, result.counts.acted, DEVICES), "once, however often it is told");
}
