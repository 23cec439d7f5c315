/* tests/sim/sim_device.c -- kickoff_device.c once more, on simulated sockets; and an app that does
 * what the messages say and nothing else. */
#include "tests/sim/sim_device.h"

#include <stdlib.h>
#include <string.h>

#include "proto/ws.h"
#include "tests/sim/invariants.h"
#include "tests/sim/sim_conn.h"
#include "tests/sim/sim_node.h"

static struct device_now now_of(const struct world *world, const struct device *device)
{
        return (struct device_now){
                .mono_ms = world->now_ms + device->mono_ahead_ms,
                .wall_ms = WALL_START_MS + (int64_t)world->now_ms + device->wall_ahead_ms,
        };
}

static uint64_t latency_ms(struct world *world)
{
        return world_random(world, 0, 20);
}

/* --- the app -------------------------------------------------------------------------------- */

static void take_state(struct device *device, const struct event_state *state)
{
        size_t i = 0;

        while (i < device->n_states && strcmp(device->states[i].event, state->event) != 0)
                i++;
        check(i < EVENTS_AT_ALL);
        device->states[i] = *state;
        if (i == device->n_states)
                device->n_states++;
}

static void app_takes(struct world *world, struct device *device, const struct message *message)
{
        if (message->type == MESSAGE_HELLO) {
                device->hello_recovered = message->hello.recovered;
                device->hello_reason = message->hello.reason;
        } else if (message->type == MESSAGE_SIGNAL) {
                const struct signal *signal = &message->signal;

                world_tell(world, WHO_DEVICE, device->index, "acts on %u.%t, version %u",
                           signal->token.seq, signal->token.tag, signal->state.version);
                world->counted_signals++;
                invariants_device_signal(world, device, signal);
                take_state(device, &signal->state);
                device->place = signal->token;
                invariants_device_state(world, device, false);
        } else if (message->type == MESSAGE_SKIP) {
                world_tell(world, WHO_DEVICE, device->index, "skips to %u.%t",
                           message->skip.token.seq, message->skip.token.tag);
                world->counted_skips++;
                invariants_device_skip(world, device, &message->skip.token);
                device->place = message->skip.token;
                invariants_device_state(world, device, false);
        } else if (message->type == MESSAGE_RESET) {
                const struct reset *reset = &message->reset;

                world_tell(world, WHO_DEVICE, device->index, "is reset to %u.%t: %s",
                           reset->token.seq, reset->token.tag,
                           trace_text(reset_reason_name[reset->reason]));
                world->counted_resets++;
                invariants_device_reset(world, device, &reset->token, reset->reason);
                device->n_states = 0;
                for (size_t i = 0; i < reset->n; i++)
                        take_state(device, &reset->events[i]);
                device->place = reset->token;
                invariants_device_state(world, device, true);
        }
}

/* --- the connection ------------------------------------------------------------------------- */

static void on_gone(struct world *world, void *owner, uint64_t argument, void *load)
{
        struct sim_conn *conn = owner;

        (void)argument, (void)load;
        if (conn->at_node)
                sim_conn_gone(world, conn);
}

struct sim_conn *sim_device_conn(const struct device *device)
{
        return device->links[device->core.main].conn;
}

/* The device forgets a connection; the node hears of it, or not. */
void sim_device_leave(struct world *world, struct device *device, unsigned link)
{
        struct sim_conn *conn = device->links[link].conn;

        device->links[link].attempt = 0;
        device->links[link].conn = NULL;
        if (conn == NULL)
                return;
        conn->at_device = false;
        conn->left_ms = world->now_ms;
        if (!conn->is_cut)
                world_in(world, latency_ms(world), on_gone, conn, 0);
}

static void on_lost(struct world *world, void *owner, uint64_t argument, void *load)
{
        struct sim_conn *conn = owner;
        struct device *device = conn->device;
        struct device_input input = { .kind = DEVICE_IN_CLOSED, .link = conn->link };

        (void)argument, (void)load;
        if (!conn->at_device)
                return;
        if (device->is_asleep) {
                world_in(world, device->asleep_until_ms - world->now_ms + 1, on_lost, conn, 0);
                return;
        }
        if (conn->link == device->core.main ? device->core.phase == DEVICE_CONNECTING
                                            : device->core.next.phase == DEVICE_CONNECTING)
                input.kind = DEVICE_IN_FAILED;
        world_tell(world, WHO_DEVICE, device->index, "lost its connection");
        sim_device_leave(world, device, conn->link);
        sim_device_feed(world, device, &input);
}

void sim_device_lost(struct world *world, struct sim_conn *conn)
{
        if (!conn->is_cut)
                world_in(world, latency_ms(world), on_lost, conn, 0);
}

/* Which link an attempt is of. False: it has been given up. */
static bool link_of(const struct device *device, uint64_t attempt, unsigned *ret_link)
{
        for (unsigned link = 0; link < DEVICE_CORE_LINKS; link++) {
                if (device->links[link].attempt == attempt) {
                        *ret_link = link;
                        return true;
                }
        }
        return false;
}

static void on_refused(struct world *world, void *owner, uint64_t attempt, void *load)
{
        struct device *device = owner;
        struct device_input input = { .kind = DEVICE_IN_REFUSED, .status = 503 };

        (void)load;
        if (!link_of(device, attempt, &input.link))
                return;
        input.retry_after_s = (int64_t)world_random(world, 1, 3);
        sim_device_leave(world, device, input.link);
        sim_device_feed(world, device, &input);
}

static void on_failed(struct world *world, void *owner, uint64_t attempt, void *load)
{
        struct device *device = owner;
        struct device_input input = { .kind = DEVICE_IN_FAILED };

        (void)load;
        if (!link_of(device, attempt, &input.link))
                return;
        sim_device_leave(world, device, input.link);
        sim_device_feed(world, device, &input);
}

/* The request stands before some node, with the token as it was when it was sent. */
static void on_knock(struct world *world, void *owner, uint64_t attempt, void *load)
{
        struct device *device = owner;
        struct node *node = world->nodes[world_random(world, 0, world->n_nodes - 1)];
        char text[TOKEN_TEXT_MAX + 1];
        struct token since;
        unsigned link;

        (void)load;
        if (!link_of(device, attempt, &link))
                return;
        if (!node->is_alive) {
                if (world_chance(world, 700)) /* else nobody answers at all */
                        world_in(world, latency_ms(world), on_failed, device, attempt);
                return;
        }

        const struct token *asked = &device->links[link].since;
        bool has_since = asked->epoch != 0;

        if (has_since)
                check(token_parse(text, token_format(asked, text), &since) == OK);
        device->sent_garbage = device->sends_garbage && has_since;
        device->sends_garbage = false;
        device->links[link].conn = sim_worker_accept(
            world, node->workers[world_random(world, 0, node->n_workers - 1)], device,
            has_since && !device->sent_garbage ? &since : NULL, device->sent_garbage);
        if (device->links[link].conn == NULL)
                world_in(world, latency_ms(world), on_refused, device, attempt);
        else
                device->links[link].conn->link = link;
}

/* --- reading -------------------------------------------------------------------------------- */

/* From the bytes that really go out. */
static void decode(const struct blob *blob, enum encoding encoding, struct message *ret_message)
{
        size_t at = 2;

        if ((blob->data[1] & 0x7f) == 126)
                at = 4;
        else if ((blob->data[1] & 0x7f) == 127)
                at = 10;
        check(message_decode(blob->data + at, blob->len - at, encoding, ret_message) == OK);
}

static void to_message(const struct world *world, const struct sim_conn *conn,
                       const struct frame *frame, struct message *ret_message)
{
        enum encoding encoding = conn->device->index % 2 ? ENCODING_JSON : ENCODING_MSGPACK;
        struct message message = { .type = MESSAGE_HELLO };

        if (frame->kind == FRAME_ENTRY && world->wire) {
                decode(frame->entry->frames[encoding], encoding, ret_message);
                return;
        }
        if (frame->kind == FRAME_SKIP && frame->entry != NULL && world->wire) {
                decode(frame->entry->skips[encoding], encoding, ret_message);
                return;
        }
        if (frame->kind == FRAME_RESET && world->wire) {
                decode(snapshot_frame(frame->snapshot, frame->reason, (enum wire)encoding), encoding,
                       ret_message);
                return;
        }
        if (frame->kind == FRAME_HELLO) {
                message.hello = (struct hello){ .token = frame->token,
                                                .now = frame->t1,
                                                .ping_s = world->ping_ms / 1000,
                                                .lifetime_s = world->lifetime_ms / 1000,
                                                .ack_spread_ms = 500,
                                                .recovered = frame->recovered,
                                                .has_reason = !frame->recovered,
                                                .reason = frame->reason };
        } else if (frame->kind == FRAME_ENTRY) {
                message.type = MESSAGE_SIGNAL;
                message.signal = frame->entry->signal;
        } else if (frame->kind == FRAME_SKIP) {
                message.type = MESSAGE_SKIP;
                message.skip.token = frame->token;
        } else if (frame->kind == FRAME_RESET) {
                const struct event_state *states =
                    snapshot_events(frame->snapshot, &message.reset.n);

                message.type = MESSAGE_RESET;
                message.reset.reason = frame->reason;
                message.reset.token = *snapshot_token(frame->snapshot);
                message.reset.events = calloc(message.reset.n + 1, sizeof(*states));
                check(message.reset.events != NULL);
                memcpy(message.reset.events, states, message.reset.n * sizeof(*states));
        } else if (frame->kind == FRAME_TIME) {
                message.type = MESSAGE_TIME;
                message.time = (struct time_sync){ frame->t0, true, frame->t1 };
        } else {
                message.type = MESSAGE_GOAWAY;
                message.goaway = frame->goaway;
        }
        *ret_message = message;
}

static void on_pong(struct world *world, void *owner, uint64_t argument, void *load)
{
        (void)argument, (void)load;
        sim_conn_pong(world, owner);
}

static void read_frame(struct world *world, struct sim_conn *conn, const struct frame *frame)
{
        struct device *device = conn->device;
        struct device_input input = { .kind = DEVICE_IN_MESSAGE, .link = conn->link };
        struct message message;

        switch (frame->kind) {
        case FRAME_UPGRADE:
                input.kind = DEVICE_IN_OPENED;
                break;
        case FRAME_PING:
                input.kind = DEVICE_IN_HEARD;
                if (!conn->is_cut)
                        world_in(world, latency_ms(world), on_pong, conn, 0);
                break;
        case FRAME_CLOSE:
                input.kind = DEVICE_IN_CLOSED;
                input.code = close_table[frame->close].code;
                sim_device_leave(world, device, conn->link);
                break;
        default:
                to_message(world, conn, frame, &message);
                input.message = &message;
                sim_device_feed(world, device, &input);
                message_fini(&message);
                return;
        }
        sim_device_feed(world, device, &input);
}

static void on_read(struct world *world, void *owner, uint64_t argument, void *load)
{
        struct sim_conn *conn = owner;
        struct frame frame;

        (void)argument, (void)load;
        conn->is_reading = false;
        if (!conn->at_device || conn->is_cut || conn->device->is_asleep ||
            !sim_conn_take(world, conn, &frame))
                return;
        read_frame(world, conn, &frame);
        sim_conn_drop(&frame);
        sim_device_wake(world, conn);
}

void sim_device_wake(struct world *world, struct sim_conn *conn)
{
        uint64_t in_ms = conn->device->read_every_ms;

        if (conn->is_reading || !conn->at_device || conn->is_cut || conn->n_queue == 0)
                return;
        conn->is_reading = true;
        world_in(world, in_ms > 0 ? in_ms : world_random(world, 0, 5), on_read, conn, 0);
}

/* --- carrying out --------------------------------------------------------------------------- */

static void on_heard(struct world *world, void *owner, uint64_t argument, void *load)
{
        (void)argument;
        sim_conn_hear(world, owner, load);
        free(load);
}

static void say(struct world *world, struct device *device, const struct message *message)
{
        struct sim_conn *conn = sim_device_conn(device);
        struct message *copy;

        if (conn == NULL || conn->is_cut)
                return;
        copy = malloc(sizeof(*copy));
        check(copy != NULL);
        *copy = *message;
        world_send(world, latency_ms(world), on_heard, conn, 0, copy, free);
}

static void on_tick(struct world *world, void *owner, uint64_t at_ms, void *load);

void sim_device_arm(struct world *world, struct device *device)
{
        uint64_t due = device_core_due(&device->core), at_ms;

        if (due == DEVICE_CORE_NEVER)
                return;
        at_ms = due > device->mono_ahead_ms ? due - device->mono_ahead_ms : 0;
        if (at_ms <= world->now_ms)
                at_ms = world->now_ms + 1;
        if (device->tick_ms != 0 && device->tick_ms <= at_ms)
                return;
        device->tick_ms = at_ms;
        world_in(world, at_ms - world->now_ms, on_tick, device, at_ms);
}

static void on_tick(struct world *world, void *owner, uint64_t at_ms, void *load)
{
        struct device *device = owner;

        (void)load;
        if (device->tick_ms != at_ms)
                return;
        device->tick_ms = 0;
        if (!device->is_asleep)
                sim_device_feed(world, device, &(struct device_input){ .kind = DEVICE_IN_TICK });
}

static void carry_out(struct world *world, struct device *device,
                      const struct device_action *action, const struct device_input *input,
                      const char *why)
{
        struct message message = { .type = MESSAGE_ACK };

        switch (action->what) {
        case DEVICE_DO_CONNECT:
                check(token_equal(&device->core.token, &device->place));
                device->links[action->link].attempt = ++device->attempt;
                device->links[action->link].since = device->place;
                world_in(world, latency_ms(world), on_knock, device, device->attempt);
                break;
        case DEVICE_DO_ACK:
                message.ack = action->ack;
                say(world, device, &message);
                break;
        case DEVICE_DO_TIME:
                message.type = MESSAGE_TIME;
                message.time = action->time;
                say(world, device, &message);
                break;
        case DEVICE_DO_DELIVER:
                app_takes(world, device, input->message);
                break;
        case DEVICE_DO_CLOSE:
                invariants_device_closes(world, device, action->reason, why);
                sim_device_leave(world, device, action->link);
                break;
        case DEVICE_DO_CUT:
                sim_device_leave(world, device, action->link);
                break;
        case DEVICE_DO_STATE:
                break;
        }
}

void sim_device_feed(struct world *world, struct device *device, const struct device_input *input)
{
        struct device_actions actions;

        device_core_step(&device->core, input, now_of(world, device), &actions);
        if (input->kind == DEVICE_IN_MESSAGE && input->message->type == MESSAGE_SKIP &&
            !token_equal(&device->core.token, &device->place))
                app_takes(world, device, input->message); /* its SDK's place moved: that is all */
        for (unsigned i = 0; i < actions.n; i++)
                carry_out(world, device, &actions.list[i], input, actions.why);
        sim_device_arm(world, device);
}
