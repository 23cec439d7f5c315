/* device/c/kickoff_device.c -- the app's side of the SDK: options in, callbacks out, and the core
 * between them. Decides nothing: what the core says is carried out here, or by device_link.c on
 * libwebsockets. */
#include "device/c/kickoff_device.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "device/c/device_inside.h"

#define DESTROY_WAIT_MS 1000u /* kickoff_device_destroy waits so long for the close handshake */

static struct device_now now(void)
{
        return (struct device_now){ .mono_ms = clock_mono_ms(), .wall_ms = clock_wall_ms() };
}

/* --- carrying out what the core decided ----------------------------------------------------- */

static void deliver(struct kickoff_device *device, const struct message *message)
{
        const struct kickoff_device_options *to = &device->options;

        switch (message->type) {
        case MESSAGE_HELLO:
                if (to->on_hello != NULL)
                        to->on_hello(to->owner, &message->hello);
                return;
        case MESSAGE_SIGNAL:
                if (to->on_signal != NULL)
                        to->on_signal(to->owner, &message->signal);
                return;
        case MESSAGE_RESET:
                if (to->on_reset != NULL)
                        to->on_reset(to->owner, &message->reset);
                return;
        case MESSAGE_GOAWAY:
                if (to->on_goaway != NULL)
                        to->on_goaway(to->owner, &message->goaway);
                return;
        case MESSAGE_MESSAGE:
                if (to->on_message != NULL)
                        to->on_message(to->owner, &message->message);
                return;
        case MESSAGE_TIME:
        case MESSAGE_SKIP:
        case MESSAGE_ACK:
        case MESSAGE_TYPES:
                check(false); /* the core delivers only what has a callback */
        }
}

static void act(struct kickoff_device *device, const struct device_actions *todo,
                const struct message *message, bool inside)
{
        for (unsigned i = 0; i < todo->n; i++) {
                const struct device_action *action = &todo->list[i];

                switch (action->what) {
                case DEVICE_DO_CONNECT:
                        device_link_connect(device);
                        break;
                case DEVICE_DO_ACK:
                        device->has_ack = true;
                        device->ack = action->ack;
                        device_link_write(device);
                        break;
                case DEVICE_DO_TIME:
                        device->has_time = true;
                        device->time = action->time;
                        device_link_write(device);
                        break;
                case DEVICE_DO_DELIVER:
                        deliver(device, message);
                        break;
                case DEVICE_DO_CLOSE:
                case DEVICE_DO_CUT:
                        device_link_leave(device, action, inside);
                        break;
                case DEVICE_DO_STATE:
                        if (device->options.on_state != NULL)
                                device->options.on_state(device->options.owner, action->state,
                                                         todo->why);
                        break;
                }
        }
}

void kickoff_device_feed(struct kickoff_device *device, const struct device_input *input,
                         bool inside)
{
        struct device_actions todo;

        device_core_step(&device->core, input, now(), &todo);
        if (device->core.token.epoch != 0)
                token_format(&device->core.token, device->token_text);
        act(device, &todo, input->message, inside);
}

/* --- service -------------------------------------------------------------------------------- */

void kickoff_device_service(struct kickoff_device *device, unsigned timeout_ms)
{
        uint64_t wait_ms = timeout_ms;

        device_link_reap(device);
        if (device->cut_wanted) {
                device->cut_wanted = false;
                kickoff_device_feed(device, &(struct device_input){ .kind = DEVICE_IN_CUT }, false);
        }
        if (clock_mono_ms() >= device_core_due(&device->core))
                kickoff_device_feed(device, &(struct device_input){ .kind = DEVICE_IN_TICK },
                                    false);

        uint64_t due_ms = device_core_due(&device->core), now_ms = clock_mono_ms();

        if (due_ms <= now_ms)
                wait_ms = 0;
        else if (due_ms - now_ms < wait_ms)
                wait_ms = due_ms - now_ms;
        device_link_turn(device, wait_ms);
}

void kickoff_device_wake(struct kickoff_device *device)
{
        device_link_wake(device);
}

void kickoff_device_cut(struct kickoff_device *device)
{
        device->cut_wanted = true; /* at the next service call: this may be one of our callbacks */
}

/* --- life ----------------------------------------------------------------------------------- */

static enum err copy_name(char *to, const char *from, size_t max)
{
        size_t len = strlen(from);

        if (!name_is_valid(from, len, max))
                return ERR_INVALID;
        memcpy(to, from, len + 1);
        return OK;
}

static enum err read_options(struct kickoff_device *device,
                             const struct kickoff_device_options *options, struct token *ret_since)
{
        enum err err;

        if (options->url == NULL || options->device == NULL || options->encoding >= ENCODINGS)
                return ERR_INVALID;
        err = device_url_parse(options->url, &device->url);
        if (err == OK)
                err = copy_name(device->device, options->device, DEVICE_ID_MAX);
        if (err == OK && options->cohort != NULL)
                err = copy_name(device->cohort, options->cohort, COHORT_MAX);
        if (err == OK && options->since != NULL && options->since[0] != '\0')
                err = token_parse(options->since, strlen(options->since), ret_since);
        if (err != OK)
                return err;
        device->options = *options;
        device->options.url = device->options.device = NULL; /* the copies count */
        device->options.cohort = device->options.since = NULL;
        return OK;
}

enum err kickoff_device_create(const struct kickoff_device_options *options,
                               struct kickoff_device **ret_device)
{
        struct kickoff_device *device = calloc(1, sizeof(*device));
        struct token since = { .epoch = 0 };
        enum err err = ERR_NOMEM;

        if (device == NULL)
                return ERR_NOMEM;
        err = read_options(device, options, &since);
        if (err != OK)
                goto fail_device;
        err = device_link_open(device);
        if (err != OK)
                goto fail_device;
        buf_init(&device->rx);
        device_core_init(&device->core, options->backoff_min_ms, options->backoff_max_ms,
                         options->no_ack, &since,
                         options->seed != 0 ? options->seed : rng_secure_u64());
        if (since.epoch != 0)
                token_format(&since, device->token_text);
        *ret_device = device;
        return OK;
fail_device:
        free(device);
        return err;
}

void kickoff_device_destroy(struct kickoff_device *device)
{
        uint64_t until_ms = clock_mono_ms() + DESTROY_WAIT_MS;

        if (device == NULL)
                return;
        device->options = (struct kickoff_device_options){ .encoding = device->options.encoding };
        kickoff_device_feed(device, &(struct device_input){ .kind = DEVICE_IN_LEAVE }, false);
        device_link_reap(device);
        for (uint64_t at = clock_mono_ms(); device->links != NULL && at < until_ms;
             at = clock_mono_ms()) {
                device_link_turn(device, until_ms - at);
                device_link_reap(device);
        }
        device_link_close(device);
        buf_fini(&device->rx);
        free(device);
}

const char *kickoff_device_token(const struct kickoff_device *device)
{
        return device->token_text;
}

enum kickoff_device_state kickoff_device_state_of(const struct kickoff_device *device)
{
        return device_core_state(&device->core);
}

void kickoff_device_activated(struct kickoff_device *device, seqno seq)
{
        device_core_activated(&device->core, seq, now());
}

int64_t kickoff_device_clock_offset_ms(const struct kickoff_device *device)
{
        return device_core_offset_ms(&device->core, now());
}
