/* device/c/kickoff_device.c -- the app's side of the SDK: options in, callbacks out, and the core
 * between them. Decides nothing: what the core says is carried out here, or by device_link.c on
 * libwebsockets. */
#include "device/c/kickoff_device.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "device/c/device_inside.h"

#define DESTROY_WAIT_MS 1000u /* kickoff_device_destroy waits so long for the close handshake */

struct device_now kickoff_device_now(const struct kickoff_device *device)
{
        return (struct device_now){ .mono_ms = clock_mono_ms(),
                                    .wall_ms = clock_wall_ms() + device->options.clock_skew_ms };
}

static int64_t node_ms(const struct kickoff_device *device)
{
        struct device_now now = kickoff_device_now(device);

        return now.wall_ms + device_core_offset_ms(&device->core, now);
}

/* --- bundles -------------------------------------------------------------------------------- */

static void show_bundle(struct kickoff_device *device, const char *event,
                        const struct device_copy *copy, bool from_cache, bool has_bytes)
{
        struct kickoff_device_bundle bundle = {
                .event = event,
                .version = copy->version,
                .bytes = !has_bytes            ? NULL
                         : copy->bytes.len > 0 ? copy->bytes.data
                                               : "",
                .len = copy->bytes.len,
                .content_type = copy->content_type,
                .hash = copy->hash,
                .from_cache = from_cache,
        };

        if (device->options.on_bundle != NULL)
                device->options.on_bundle(device->options.owner, &bundle);
}

static const char *cohort_of(const struct kickoff_device *device)
{
        return device->cohort[0] != '\0' ? device->cohort : COHORT_DEFAULT;
}

/* What a former run of the app has left: as good as fetched if the log names it still. Otherwise it
 * may be what the node has none the less (If-None-Match), which is asked in the span as ever. */
static void look_in_cache(struct kickoff_device *device, const struct event_state *state)
{
        struct device_now now = kickoff_device_now(device);
        struct device_copy copy;

        if (device->cache_dir[0] == '\0' || state->bundle == 0 ||
            !device_agenda_wants(&device->agenda, state->event, state->bundle) ||
            device_cache_read(device->cache_dir, cohort_of(device), state->event, &copy) != OK)
                return;
        if (copy.version == state->bundle && copy.epoch == device->core.token.epoch) {
                (void)device_agenda_fetched(&device->agenda, state->event, DEVICE_FETCH_GOOD,
                                            copy.version, copy.hash, 0, now);
                show_bundle(device, state->event, &copy, true, true);
        } else {
                device_agenda_found(&device->agenda, state->event, copy.hash);
        }
        buf_fini(&copy.bytes);
}

static uint64_t patience_ms(const struct fetch *fetch)
{
        if ((fetch->status == 429 || fetch->status == 503) && fetch->retry_after_s >= 0)
                return (uint64_t)fetch->retry_after_s * 1000;
        if (fetch->status == 404) /* not there yet; the node says how long that is sure */
                return fetch->max_age_s > 0 ? (uint64_t)fetch->max_age_s * 1000 : 10000;
        return 0;
}

/* Whole, and what its hash says; otherwise nobody sees it. */
static bool is_good(struct fetch *fetch)
{
        if (fetch->status != 200 || fetch->is_broken || fetch->expected[0] == '\0')
                return false;
        device_cache_hash(fetch->copy.bytes.data != NULL ? fetch->copy.bytes.data : "",
                          fetch->copy.bytes.len, fetch->copy.hash);
        return strcmp(fetch->copy.hash, fetch->expected) == 0;
}

/* 304: what the app has, or what lies in the cache, is what there is. */
static bool is_the_same(struct kickoff_device *device, struct fetch *fetch)
{
        struct device_copy copy;

        if (fetch->status != 304 || fetch->known[0] == '\0')
                return false;
        memcpy(fetch->copy.hash, fetch->known, sizeof(fetch->copy.hash));
        if (device->cache_dir[0] == '\0')
                return true; /* the app was given the bytes by this very object */
        if (device_cache_read(device->cache_dir, cohort_of(device), fetch->event, &copy) != OK)
                return false;
        if (strcmp(copy.hash, fetch->known) != 0) {
                buf_fini(&copy.bytes);
                return false;
        }
        copy.version = fetch->copy.version;
        buf_fini(&fetch->copy.bytes);
        fetch->copy = copy;
        return true;
}

void kickoff_device_fetched(struct kickoff_device *device)
{
        struct fetch *fetch = &device->fetch;
        enum device_fetch_end end = DEVICE_FETCH_FAILED;
        bool same = is_the_same(device, fetch);

        if (same || is_good(fetch))
                end = DEVICE_FETCH_GOOD;
        else if (fetch->status == 304)
                device_agenda_found(&device->agenda, fetch->event, "");
        else if (fetch->status == 410)
                end = DEVICE_FETCH_OVER;
        if (!device_agenda_fetched(&device->agenda, fetch->event, end, fetch->copy.version,
                                   fetch->copy.hash, patience_ms(fetch),
                                   kickoff_device_now(device)) ||
            end != DEVICE_FETCH_GOOD)
                return;
        fetch->copy.epoch = device->core.token.epoch;
        /* Kept or not, the app has it: a full disk costs a fetch after the next start, no more. */
        if (device->cache_dir[0] != '\0')
                (void)!device_cache_write(device->cache_dir, cohort_of(device), fetch->event,
                                          &fetch->copy);
        show_bundle(device, fetch->event, &fetch->copy, same,
                    !same || device->cache_dir[0] != '\0');
}

/* --- carrying out what the core decided ----------------------------------------------------- */

static void act_on_due(struct kickoff_device *device)
{
        const struct kickoff_device_options *to = &device->options;
        struct device_row due;

        while (device_agenda_act(&device->agenda, node_ms(device), &due)) {
                /* Before the callback, which may take its time: this is when it was switched. */
                if (due.seq != 0)
                        kickoff_device_activated(device, due.seq);
                to->on_due(to->owner, &due.state, due.seq);
        }
}

/* An event for which there is no memory is still told; it is only not looked after. */
static void look_after(struct kickoff_device *device, const struct message *message)
{
        struct device_now now = kickoff_device_now(device);

        if (!device->agenda.acts && !device->agenda.fetches)
                return;
        if (message->type == MESSAGE_HELLO) {
                device_agenda_hello(&device->agenda, &message->hello);
        } else if (message->type == MESSAGE_SIGNAL) {
                (void)!device_agenda_signal(&device->agenda, &message->signal, now);
                look_in_cache(device, &message->signal.state);
        } else if (message->type == MESSAGE_RESET) {
                (void)!device_agenda_reset(&device->agenda, &message->reset, now);
                for (size_t i = 0; i < message->reset.n; i++)
                        look_in_cache(device, &message->reset.events[i]);
        }
        act_on_due(device); /* before the next message: that one may be of the same event */
}

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
                const struct message *message, const struct link *inside)
{
        const struct kickoff_device_options *to = &device->options;

        for (unsigned i = 0; i < todo->n; i++) {
                const struct device_action *action = &todo->list[i];

                switch (action->what) {
                case DEVICE_DO_CONNECT:
                        device_link_connect(device, action);
                        break;
                case DEVICE_DO_ACK:
                case DEVICE_DO_TIME:
                        device_link_send(device, action);
                        break;
                case DEVICE_DO_DELIVER:
                        deliver(device, message);
                        look_after(device, message);
                        break;
                case DEVICE_DO_CLOSE:
                case DEVICE_DO_CUT:
                        device_link_leave(device, action, inside);
                        break;
                case DEVICE_DO_STATE:
                        if (to->on_state != NULL)
                                to->on_state(to->owner, action->state, todo->why);
                        break;
                }
        }
}

void kickoff_device_feed(struct kickoff_device *device, const struct device_input *input,
                         const struct link *inside)
{
        struct device_actions todo;

        device_core_step(&device->core, input, kickoff_device_now(device), &todo);
        if (device->core.token.epoch != 0)
                token_format(&device->core.token, device->token_text);
        act(device, &todo, input->message, inside);
}

/* --- service -------------------------------------------------------------------------------- */

static void run_agenda(struct kickoff_device *device)
{
        const struct device_row *row;

        act_on_due(device);
        device_http_check(device);
        if (!device->fetch.is_busy && device->fetch.wsi == NULL &&
            device->core.phase != DEVICE_STOPPED &&
            device_agenda_fetch(&device->agenda, kickoff_device_now(device), &row))
                device_http_fetch(device, row);
}

/* How long until the core, or the agenda, has something to do. */
static uint64_t idle_ms(const struct kickoff_device *device)
{
        struct device_now now = kickoff_device_now(device);
        bool may_fetch = !device->fetch.is_busy && device->fetch.wsi == NULL &&
                         device->core.phase != DEVICE_STOPPED;
        uint64_t due_ms = device_core_due(&device->core);
        uint64_t wait_ms = device_agenda_wait_ms(&device->agenda, now, node_ms(device), may_fetch);

        if (device->fetch.is_busy && device->fetch.deadline_ms < due_ms)
                due_ms = device->fetch.deadline_ms;
        if (due_ms == DEVICE_CORE_NEVER)
                return wait_ms;
        due_ms = due_ms > now.mono_ms ? due_ms - now.mono_ms : 0;
        return due_ms < wait_ms ? due_ms : wait_ms;
}

void kickoff_device_service(struct kickoff_device *device, unsigned timeout_ms)
{
        uint64_t wait_ms;

        device_link_reap(device);
        if (device->cut_wanted) {
                device->cut_wanted = false;
                kickoff_device_feed(device, &(struct device_input){ .kind = DEVICE_IN_CUT }, NULL);
        }
        if (clock_mono_ms() >= device_core_due(&device->core))
                kickoff_device_feed(device, &(struct device_input){ .kind = DEVICE_IN_TICK }, NULL);
        run_agenda(device);
        wait_ms = idle_ms(device);
        device_link_turn(device, wait_ms < timeout_ms ? wait_ms : timeout_ms);
        run_agenda(device);
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

static enum err copy_dir(struct kickoff_device *device, const char *dir)
{
        size_t len = strlen(dir);

        if (len == 0 || len >= sizeof(device->cache_dir))
                return ERR_INVALID;
        memcpy(device->cache_dir, dir, len + 1);
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
        if (err == OK && options->platform != NULL)
                err = copy_name(device->platform, options->platform, ATTRIBUTE_MAX);
        if (err == OK && options->region != NULL)
                err = copy_name(device->region, options->region, ATTRIBUTE_MAX);
        if (err == OK && options->app != NULL)
                err = copy_name(device->app, options->app, ATTRIBUTE_MAX);
        if (err == OK && options->cache_dir != NULL)
                err = copy_dir(device, options->cache_dir);
        if (err == OK && options->since != NULL && options->since[0] != '\0')
                err = token_parse(options->since, strlen(options->since), ret_since);
        if (err != OK)
                return err;
        device->options = *options;
        device->options.url = device->options.device = NULL; /* the copies count */
        device->options.cohort = device->options.since = device->options.cache_dir = NULL;
        device->options.platform = device->options.region = device->options.app = NULL;
        return OK;
}

enum err kickoff_device_create(const struct kickoff_device_options *options,
                               struct kickoff_device **ret_device)
{
        struct kickoff_device *device = calloc(1, sizeof(*device));
        struct token since = { .epoch = 0 };
        enum err err = ERR_NOMEM;
        uint64_t seed;

        if (device == NULL)
                return ERR_NOMEM;
        err = read_options(device, options, &since);
        if (err != OK)
                goto fail_device;
        err = device_link_open(device);
        if (err != OK)
                goto fail_device;
        seed = options->seed != 0 ? options->seed : rng_secure_u64();
        device_core_init(&device->core, options->backoff_min_ms, options->backoff_max_ms,
                         options->no_ack, &since, seed);
        if (!options->no_stream)
                device_core_allow_stream(&device->core);
        device_agenda_init(&device->agenda, options->on_due != NULL, options->on_bundle != NULL,
                           ~seed);
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
        device_agenda_fini(&device->agenda);
        kickoff_device_feed(device, &(struct device_input){ .kind = DEVICE_IN_LEAVE }, NULL);
        device_link_reap(device);
        for (uint64_t at = clock_mono_ms(); device->links != NULL && at < until_ms;
             at = clock_mono_ms()) {
                device_link_turn(device, until_ms - at);
                device_link_reap(device);
        }
        device_link_close(device);
        buf_fini(&device->fetch.copy.bytes);
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
        device_core_activated(&device->core, seq, kickoff_device_now(device));
}

int64_t kickoff_device_clock_offset_ms(const struct kickoff_device *device)
{
        return device_core_offset_ms(&device->core, kickoff_device_now(device));
}
