/* loadtest/swarm_device.c -- see swarm_device.h. Acts on what comes: upgrade, messages, close. A
 * lost connection is no failure: the device comes back with its token, and simdevice tells whether
 * the gap was filled. */
#include "loadtest/swarm_device.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "loadtest/swarm_clocks.h"
#include "proto/close.h"

#define BACKOFF_MIN_MS 500
#define BACKOFF_MAX_MS 30000
#define ACK_SPREAD_MAX 600000 /* ms: a node that says more is not believed */

uint32_t swarm_number(const struct swarm *swarm, const struct device *device)
{
        return swarm->options.first + (uint32_t)(device - swarm->devices);
}

static struct swarm_counts *counts(struct swarm *swarm)
{
        return &swarm->result.counts;
}

void swarm_watch(struct swarm *swarm, const struct device *device, int operation, uint32_t events)
{
        struct epoll_event event = { .events = events,
                                     .data.u64 = (uint64_t)(device - swarm->devices) };

        if (epoll_ctl(swarm->set, operation, device->fd, &event) != 0)
                counts(swarm)->connect_errors++; /* the deadline will find it */
}

void swarm_device_release(struct swarm *swarm, struct device *device)
{
        if (device->state == DEVICE_CONNECTING || device->state == DEVICE_UPGRADING)
                swarm->under_way--;
        if (device->state == DEVICE_OPEN) {
                counts(swarm)->open--;
                swarm_note(swarm, SERIES_ENDS);
                device->lost_us = (uint32_t)clock_mono_us();
        }
        close(device->fd);
        device->fd = -1;
        inbox_drop(swarm->inbox, device->partial);
        device->partial = NULL;
        device->owes_ack = device->is_leaving = device->is_asleep = false;
        wheel_stop(&swarm->links, &device->link_timer);
        swarm_clocks_pause(swarm, device);
}

/* As a load balancer does that has noticed: another node, any. */
static void choose_another_node(struct swarm *swarm, struct device *device)
{
        unsigned n = swarm->options.n_targets;

        if (n > 1)
                device->target =
                    (uint8_t)((device->target + 1 + rng_below(&swarm->rng, n - 1)) % n);
}

/* Full jitter (Brooker, "Exponential Backoff And Jitter"): anywhere from 0 to the step. */
void swarm_device_come_back(struct swarm *swarm, struct device *device, uint32_t not_before_ms)
{
        uint64_t step = (uint64_t)BACKOFF_MIN_MS << (device->tries < 7 ? device->tries : 6);

        if (step > BACKOFF_MAX_MS)
                step = BACKOFF_MAX_MS;
        swarm_device_release(swarm, device);
        choose_another_node(swarm, device);
        device->state = DEVICE_WAITING;
        wheel_start(&swarm->links, &device->link_timer,
                    swarm->now_ms + not_before_ms + rng_below(&swarm->rng, step + 1));
}

void swarm_device_lose(struct swarm *swarm, struct device *device)
{
        if (device->state == DEVICE_CLOSING) {
                swarm_device_release(swarm, device);
                device->state = DEVICE_CLOSED;
                return;
        }
        if (device->state == DEVICE_OPEN)
                counts(swarm)->lost_connections++;
        else
                counts(swarm)->connect_errors++;
        swarm_device_come_back(swarm, device, 0);
}

void swarm_device_break_off(struct swarm *swarm, struct device *device)
{
        counts(swarm)->broken++;
        device->sim.flawed = true;
        swarm_device_come_back(swarm, device, 0);
}

/* A device's frames are far smaller than its socket's buffer: one that does not fit whole means the
 * connection is stuck. */
static bool send_frame(struct swarm *swarm, struct device *device, enum ws_opcode opcode,
                       const void *payload, size_t len)
{
        uint8_t frame[WS_HEADER_MAX + 512], mask[4];
        uint64_t random = rng_u64(&swarm->rng);
        size_t n;

        check(len <= 512);
        memcpy(mask, &random, sizeof(mask));
        n = ws_client_frame(frame, opcode, payload, len, mask);
        if (send(device->fd, frame, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n)
                return true;
        /* What the node said before it closed is still to be read, and tells whether it was in
         * order. */
        if (errno != EPIPE && errno != ECONNRESET)
                swarm_device_lose(swarm, device);
        return false;
}

bool swarm_device_say(struct swarm *swarm, struct device *device, const struct message *message)
{
        char bytes[256];
        struct buf out;

        buf_init_fixed(&out, bytes, sizeof(bytes));
        message_encode(message, (enum encoding)device->encoding, &out);
        check(!out.failed);
        return send_frame(swarm, device, device->encoding == ENCODING_JSON ? WS_TEXT : WS_BINARY,
                          out.data, out.len);
}

/* As a device would that knows its clock: it acts when the signal says, or at once if that is past.
 * What it has not done yet it does not claim. */
static void send_ack(struct swarm *swarm, struct device *device)
{
        struct message message = { .type = MESSAGE_ACK, .ack = { .seq = device->sim.place.seq } };
        int64_t now_ms = clock_wall_ms();
        int32_t ago_ms = (int32_t)((uint32_t)now_ms - device->acts_ms);

        device->owes_ack = false;
        if (ago_ms >= 0) {
                message.ack.has_activated_at = true;
                message.ack.activated_at = now_ms - ago_ms;
        }
        if (!swarm_device_say(swarm, device, &message))
                return;
        device->unacked = false;
        counts(swarm)->acks++;
}

static void owe_ack(struct swarm *swarm, struct device *device)
{
        if (swarm->options.no_ack || device->is_dead)
                return;
        device->unacked = true;
        if (device->owes_ack)
                return;
        if (swarm->ack_spread_ms == 0 || device->is_leaving) {
                send_ack(swarm, device);
                return;
        }
        device->owes_ack = true;
        wheel_start(&swarm->links, &device->link_timer,
                    swarm->now_ms + rng_below(&swarm->rng, swarm->ack_spread_ms));
}

/* Is this our event after a change of this run? The first change is the start. */
static bool has_started(const struct swarm *swarm, const struct event_state *state)
{
        const struct swarm_board *board = swarm->options.board;

        return atomic_load(&board->asked_us[0]) != 0 &&
               state->version > atomic_load(&board->base_version) &&
               strcmp(state->event, swarm->options.event) == 0;
}

static void time_signal(struct swarm *swarm, const struct signal *signal)
{
        const struct swarm_board *board = swarm->options.board;
        uint64_t change = signal->state.version - atomic_load(&board->base_version) - 1;
        enum swarm_timing timing = change == 0                           ? TIMING_START
                                   : atomic_load(&board->is_beside) != 0 ? TIMING_BESIDE
                                                                         : TIMING_STAGE;
        struct timespec now;
        int64_t asked_us, now_us;

        if (change >= SWARM_CHANGES_MAX || strcmp(signal->state.event, swarm->options.event) != 0)
                return;
        asked_us = atomic_load(&board->asked_us[change]);
        if (asked_us == 0)
                return;
        clock_gettime(CLOCK_REALTIME, &now);
        now_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
        histogram_record(&swarm->result.timings[timing],
                         now_us > asked_us ? (uint64_t)(now_us - asked_us) : 0);
}

static uint32_t acts_ms(const struct signal *signal)
{
        int64_t now_ms = clock_wall_ms();

        return (uint32_t)(signal->state.at > now_ms ? signal->state.at : now_ms);
}

static void on_signal(struct swarm *swarm, struct device *device, const struct signal *signal)
{
        enum simdevice_verdict verdict =
            simdevice_signal(&device->sim, &signal->token, &swarm->witness, &counts(swarm)->tally);

        if (verdict != SIM_NEXT && verdict != SIM_GAP)
                return;
        swarm_note(swarm, SERIES_DELIVERED);
        if (swarm_role(swarm, device) ==
            MODEL_BRISK) /* how late the others are is their own doing */
                time_signal(swarm, signal);
        if (has_started(swarm, &signal->state)) {
                swarm_is_told(swarm, device);
                swarm_clocks_plan(swarm, device, signal->state.at);
        }
        device->acts_ms = acts_ms(signal);
        if (signal->window_ms > 0 && device->fetch_settled &&
            signal->state.bundle != device->bundle &&
            strcmp(signal->state.event, swarm->options.event) == 0)
                wheel_start(&swarm->fetches, &device->fetch_timer,
                            swarm->now_ms + rng_below(&swarm->rng, (uint64_t)signal->window_ms));
        owe_ack(swarm, device);
}

static void on_hello(struct swarm *swarm, struct device *device, const struct hello *hello)
{
        simdevice_hello(&device->sim, hello, &counts(swarm)->tally);
        histogram_record(&swarm->result.timings[TIMING_CONNECT],
                         (uint32_t)clock_mono_us() - device->began_us);
        swarm->ack_spread_ms =
            hello->ack_spread_ms < ACK_SPREAD_MAX ? hello->ack_spread_ms : ACK_SPREAD_MAX;
        device->tries = 0;
        swarm_clocks_hello(swarm, device, hello->now);
        swarm_note(swarm, SERIES_WELCOMES);
        if (device->welcomed) {
                counts(swarm)->reconnects++;
                swarm_note(swarm, SERIES_BACK);
                atomic_store(&swarm->options.board->last_back_us, clock_mono_us());
                histogram_record(&swarm->result.timings[TIMING_BACK],
                                 (uint32_t)clock_mono_us() - device->lost_us);
                device->unacked = device->unacked && hello->recovered;
                if (device->unacked)
                        owe_ack(swarm, device);
                return;
        }
        device->welcomed = true;
        atomic_store(&swarm->options.board->last_welcome_us, clock_mono_us());
        counts(swarm)->connected_once++;
        swarm_settle_in(swarm, device);
}

static void on_reset(struct swarm *swarm, struct device *device, const struct reset *reset)
{
        simdevice_reset(&device->sim, reset->reason, &reset->token, &swarm->witness,
                        &counts(swarm)->tally);
        for (size_t i = 0; i < reset->n; i++)
                if (has_started(swarm, &reset->events[i])) {
                        swarm_is_told(swarm, device);
                        swarm_clocks_plan(swarm, device, reset->events[i].at);
                }
}

/* It stays connected until its moment has come, so that it misses nothing it could have had. */
static void on_goaway(struct swarm *swarm, struct device *device, const struct goaway *goaway)
{
        uint64_t span = goaway->max_ms > goaway->min_ms ? goaway->max_ms - goaway->min_ms : 0;

        counts(swarm)->goaways++;
        if (device->is_leaving)
                return;
        if (device->owes_ack)
                send_ack(swarm, device);
        if (device->state != DEVICE_OPEN)
                return;
        device->is_leaving = true;
        wheel_start(&swarm->links, &device->link_timer,
                    swarm->now_ms + goaway->min_ms + rng_below(&swarm->rng, span + 1));
}

static void on_message(struct swarm *swarm, struct device *device, const struct message *message)
{
        switch (message->type) {
        case MESSAGE_HELLO:
                on_hello(swarm, device, &message->hello);
                break;
        case MESSAGE_SIGNAL:
                on_signal(swarm, device, &message->signal);
                break;
        case MESSAGE_RESET:
                on_reset(swarm, device, &message->reset);
                break;
        case MESSAGE_GOAWAY:
                on_goaway(swarm, device, &message->goaway);
                break;
        case MESSAGE_TIME:
                swarm_clocks_answer(swarm, device, &message->time);
                break;
        default:
                break; /* message, skip: nothing a herd has to do with */
        }
}

static void on_close(struct swarm *swarm, struct device *device, uint16_t code)
{
        uint8_t payload[2] = { (uint8_t)(code >> 8), (uint8_t)code };

        if (device->state == DEVICE_CLOSING) {
                swarm_device_lose(swarm, device);
                return;
        }
        counts(swarm)->closed_by_node++;
        counts(swarm)->too_slow += code == close_table[CLOSE_TOO_SLOW].code;
        if (send_frame(swarm, device, WS_CLOSE, payload, code == 1005 ? 0 : 2) ||
            device->state == DEVICE_OPEN)
                swarm_device_come_back(swarm, device, 0);
}

static void on_bytes(struct swarm *swarm, struct device *device, const uint8_t *bytes, size_t len)
{
        struct inbox_event event;
        size_t used;

        while (len > 0 && (device->state == DEVICE_OPEN || device->state == DEVICE_CLOSING)) {
                enum inbox_status status =
                    inbox_read(swarm->inbox, &device->partial, (enum encoding)device->encoding,
                               bytes, len, &used, &event);

                if (status == INBOX_BROKEN) {
                        swarm_device_break_off(swarm, device);
                        return;
                }
                bytes += used;
                len -= used;
                if (status == INBOX_CLOSE) {
                        on_close(swarm, device, event.close_code);
                } else if (device->state == DEVICE_OPEN && status == INBOX_MESSAGE) {
                        on_message(swarm, device, event.message);
                } else if (device->state == DEVICE_OPEN && status == INBOX_PING) {
                        counts(swarm)->pings++;
                        send_frame(swarm, device, WS_PONG, event.payload, event.len);
                }
        }
}

void swarm_device_ready(struct swarm *swarm, struct device *device, uint32_t epoll_events)
{
        switch (device->state) {
        case DEVICE_CONNECTING:
                if ((epoll_events & (EPOLLERR | EPOLLHUP)) != 0) {
                        swarm_connect_count(device);
                        swarm_device_lose(swarm, device);
                } else {
                        swarm_connect_ask(swarm, device);
                }
                return;
        case DEVICE_UPGRADING:
                if (!swarm_connect_answer(swarm, device))
                        return;
                break;
        case DEVICE_OPEN:
                if ((epoll_events & (EPOLLERR | EPOLLHUP)) == 0 && !swarm_may_read(swarm, device))
                        return;
                break;
        case DEVICE_CLOSING:
                break;
        default:
                return; /* closed earlier in this turn */
        }
        swarm_device_read(swarm, device, sizeof(swarm->bytes));
}

void swarm_device_read(struct swarm *swarm, struct device *device, size_t most)
{
        ssize_t n = recv(device->fd, swarm->bytes, most, MSG_DONTWAIT);

        if (n > 0)
                on_bytes(swarm, device, swarm->bytes, (size_t)n);
        else if (n == 0 || errno != EAGAIN)
                swarm_device_lose(swarm, device);
}

void swarm_device_drop(struct swarm *swarm, struct device *device, bool is_polite)
{
        static const uint8_t normal[2] = { 1000 >> 8, 1000 & 255 };
        const struct linger at_once = { .l_onoff = 1 }; /* close() sends RST */

        check(device->state == DEVICE_OPEN);
        if (is_polite) {
                if (!send_frame(swarm, device, WS_CLOSE, normal, sizeof(normal)))
                        return; /* lost already, and on its way back */
        } else {
                setsockopt(device->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        }
        swarm_device_come_back(swarm, device, 0);
}

void swarm_device_timer(struct swarm *swarm, struct device *device)
{
        switch (device->state) {
        case DEVICE_WAITING:
                if (device->welcomed && swarm->options.back_window > 0 &&
                    swarm->under_way >= swarm->options.back_window)
                        wheel_start(&swarm->links, &device->link_timer,
                                    swarm->now_ms + 1 +
                                        rng_below(&swarm->rng, SWARM_TURNED_BACK_MS));
                else
                        swarm_connect_begin(swarm, device);
                break;
        case DEVICE_CONNECTING:
        case DEVICE_UPGRADING:
                swarm_device_lose(swarm, device);
                break;
        case DEVICE_OPEN:
                if (device->owes_ack) {
                        send_ack(swarm, device);
                } else if (device->is_leaving) {
                        static const uint8_t normal[2] = { 1000 >> 8, 1000 & 255 };

                        /* The moment was drawn from the span already: no second jitter. */
                        if (send_frame(swarm, device, WS_CLOSE, normal, sizeof(normal))) {
                                swarm_device_release(swarm, device);
                                choose_another_node(swarm, device);
                                swarm_connect_begin(swarm, device);
                        }
                }
                break;
        default:
                break;
        }
}

void swarm_device_goodbye(struct swarm *swarm, struct device *device)
{
        static const uint8_t normal[2] = { 1000 >> 8, 1000 & 255 };

        if (device->state == DEVICE_OPEN && device->is_dead)
                swarm_device_release(swarm, device); /* it will not read the answer */
        else if (device->state == DEVICE_OPEN) {
                device->owes_ack = false;
                wheel_stop(&swarm->links, &device->link_timer);
                if (send_frame(swarm, device, WS_CLOSE, normal, sizeof(normal))) {
                        counts(swarm)->open--;
                        device->state = DEVICE_CLOSING;
                } else if (device->state == DEVICE_OPEN) {
                        swarm_device_release(swarm, device); /* the node has closed before */
                }
        }
        if (device->state == DEVICE_CONNECTING || device->state == DEVICE_UPGRADING)
                swarm_device_release(swarm, device);
        if (device->state != DEVICE_CLOSING) {
                wheel_stop(&swarm->links, &device->link_timer);
                device->state = DEVICE_CLOSED;
        }
}
