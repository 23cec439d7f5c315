/* producer/live.c -- decides what is read how often, and who is sent what; refuses to know what it
 * means.
 *
 * Happy path: the first stream starts the clock -> each tick asks Redis for what is due -> an
 * answer becomes the text of its kind -> if that differs from before, all streams get it. The last
 * stream stops the clock and forgets the texts: nobody is ever shown what was true when somebody
 * looked last. Failure: Redis gives no answer -> the texts stay as they are, and `status` says of
 * when they are. A read that does not come back is not asked again until it does (base/redis.h
 * gives each a deadline). */
#include "producer/live.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <event2/event.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/httpd.h"
#include "fanout/reader.h"
#include "fanout/report.h"
#include "producer/view.h"

/* In ticks. */
#define EVENTS_EVERY    4 /* and at once after a signal: `legal` changes with time, too */
#define NODES_EVERY     2
#define STATUS_EVERY    2
#define COMMENT_EVERY   20
#define REPORT_REST     20       /* of a signal that is complete, or older than ... */
#define REPORT_EAGER_MS 120000   /* ... this */
#define REPORT_PAST_MS  86400000 /* a report is kept for a day */
#define SAMPLES_MAX     240
#define SIGNALS_AT_ONCE 200
#define CURVE_STEP      2 /* percent */

enum kind { EVENTS, NODES, SIGNAL, REPORT, STATUS, KINDS };
static const char *const kind_name[KINDS] = { "events", "nodes", "signal", "report", "status" };

struct state {
        char *text; /* as it goes out; NULL = none yet */
        size_t len;
        int64_t as_of;  /* when Redis told it; 0 = never */
        bool is_asking; /* a read is under way */
};

struct sample {
        int64_t ms; /* since the signal was sent */
        uint32_t written, acked;
};

struct stream {
        LIST_ENTRY(stream) entry;
        struct live *live;
        struct httpd_request *request;
};

struct live {
        const struct admin_options *options; /* NULL: destroyed, waits for its reads */
        struct event_base *base;
        void *timer; /* libevent's struct event */
        LIST_HEAD(, stream) streams;
        unsigned n_streams, ticks, reads; /* reads: under way */
        struct state states[KINDS];
        seqno head;
        bool has_followed;
        struct signal followed; /* the newest, whose report is read */
        bool is_complete;
        struct sample samples[SAMPLES_MAX];
        unsigned n_samples;
};

/* --- sending ------------------------------------------------------------------------------- */

static void broadcast(struct live *live, const char *text, size_t len)
{
        struct stream *stream;

        LIST_FOREACH(stream, &live->streams, entry)
        httpd_stream_send(stream->request, text, len);
}

/* Takes `json`; NULL = no memory: the next one will do. */
static void publish(struct live *live, enum kind kind, json_t *json)
{
        struct state *state = &live->states[kind];
        char *body = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
        struct buf text = BUF_INIT;

        json_decref(json);
        if (body == NULL)
                return;
        buf_printf(&text, "event: %s\ndata: %s\n\n", kind_name[kind], body);
        free(body);
        if (text.failed) {
                buf_fini(&text);
                return;
        }
        if (state->text != NULL && state->len == text.len &&
            memcmp(state->text, text.data, text.len) == 0) {
                buf_fini(&text);
                return;
        }
        free(state->text);
        state->len = text.len;
        state->text = buf_take(&text);
        broadcast(live, state->text, state->len);
}

static void forget(struct live *live)
{
        for (unsigned i = 0; i < KINDS; i++) {
                free(live->states[i].text);
                live->states[i].text = NULL;
                live->states[i].as_of = 0;
        }
        live->has_followed = false;
        live->n_samples = 0;
}

/* --- status: what this node knows without asking ------------------------------------------- */

static json_t *time_or_null(int64_t ms)
{
        char text[CLOCK_RFC3339_SIZE];

        if (ms == 0)
                return json_null();
        clock_format_rfc3339(ms, text);
        return json_string(text);
}

static const char *why(const char *(*ask)(void *owner), void *owner)
{
        const char *sentence = ask != NULL ? ask(owner) : NULL;

        return sentence != NULL && sentence[0] != '\0' ? sentence : NULL;
}

static void say_status(struct live *live)
{
        const struct admin_options *options = live->options;
        const char *not_ready = why(options->why_not_ready, options->owner);
        const char *not_writable = why(options->why_not_writable, options->owner);
        json_t *as_of = json_object();

        for (unsigned kind = 0; kind < STATUS; kind++)
                (void)json_object_set_new(as_of, kind_name[kind],
                                          time_or_null(live->states[kind].as_of));
        publish(live, STATUS,
                json_pack("{s:o, s:s?, s:b, s:s?, s:b, s:s?, s:b, s:o}", "now",
                          time_or_null(clock_wall_ms()), "node", options->name, "ready",
                          (int)(not_ready == NULL), "why_not_ready", not_ready, "writable",
                          (int)(not_writable == NULL), "why_not_writable", not_writable, "redis",
                          (int)redis_is_up(options->redis), "as_of", as_of));
}

/* --- reads --------------------------------------------------------------------------------- */

static void release(struct live *live)
{
        if (live->options != NULL || live->reads > 0)
                return;
        forget(live);
        free(live);
}

/* A read came back: is there still somebody for it? */
static bool came_back(struct live *live, enum kind kind, enum err err)
{
        live->reads--;
        live->states[kind].is_asking = false;
        if (live->options == NULL || live->n_streams == 0 || err != OK) {
                release(live);
                return false;
        }
        live->states[kind].as_of = clock_wall_ms();
        return true;
}

static bool may_ask(const struct live *live, enum kind kind)
{
        return !live->states[kind].is_asking;
}

static void asked(struct live *live, enum kind kind, enum err err)
{
        if (err != OK)
                return; /* status says so */
        live->states[kind].is_asking = true;
        live->reads++;
}

static void on_events(void *owner, enum err err, const struct event *events, size_t n)
{
        struct live *live = owner;
        json_t *array;
        int64_t now = clock_wall_ms();

        if (!came_back(live, EVENTS, err))
                return;
        array = json_array();
        for (size_t i = 0; i < n; i++) {
                json_t *event = view_event(&events[i]);

                (void)json_object_set_new(event, "legal",
                                          view_commands(event_legal(&events[i], now)));
                (void)json_array_append_new(array, event);
        }
        publish(live, EVENTS, json_pack("{s:o}", "events", array));
}

static void ask_events(struct live *live)
{
        if (may_ask(live, EVENTS))
                asked(
                    live, EVENTS,
                    reader_events(live->options->redis, live->options->ns, NULL, on_events, live));
}

static void on_nodes(void *owner, enum err err, const struct presence *nodes, size_t n)
{
        struct live *live = owner;

        if (came_back(live, NODES, err))
                publish(live, NODES, json_pack("{s:o}", "nodes", view_nodes(nodes, n)));
}

static void ask_nodes(struct live *live)
{
        if (may_ask(live, NODES))
                asked(live, NODES,
                      presence_read(live->options->redis, live->options->ns, clock_wall_ms(),
                                    on_nodes, live));
}

/* --- the report ---------------------------------------------------------------------------- */

static json_t *view_curve(const struct latency *latency)
{
        json_t *array;

        if (latency->n == 0)
                return json_null();
        array = json_array();
        for (unsigned percent = 0; percent <= 100; percent += CURVE_STEP)
                (void)json_array_append_new(array,
                                            json_integer(latency_percentile(latency, percent)));
        return array;
}

/* Half of them go when there is no room: the curve stays whole, and gets coarser. */
static void take_sample(struct live *live, const struct report_part *sum)
{
        struct sample *last = live->n_samples > 0 ? &live->samples[live->n_samples - 1] : NULL;
        int64_t ms = clock_wall_ms() - live->followed.sent;

        if (last != NULL && last->written == sum->written && last->acked == sum->acked)
                return;
        if (live->n_samples == SAMPLES_MAX) {
                for (unsigned i = 0; i < SAMPLES_MAX / 2; i++)
                        live->samples[i] = live->samples[2 * i];
                live->n_samples = SAMPLES_MAX / 2;
        }
        live->samples[live->n_samples++] =
            (struct sample){ ms > 0 ? ms : 0, sum->written, sum->acked };
}

static json_t *view_samples(const struct live *live)
{
        json_t *array = json_array();

        for (unsigned i = 0; i < live->n_samples; i++)
                (void)json_array_append_new(array,
                                            json_pack("[I, I, I]", (json_int_t)live->samples[i].ms,
                                                      (json_int_t)live->samples[i].written,
                                                      (json_int_t)live->samples[i].acked));
        return array;
}

static void on_report(void *owner, enum err err, const struct report *report)
{
        struct live *live = owner;
        json_t *json;

        if (!came_back(live, REPORT, err) || !live->has_followed ||
            !token_equal(&report->token, &live->followed.token))
                return;
        live->is_complete = report->complete;
        take_sample(live, &report->sum);
        json = view_signal_report(&live->followed, report);
        if (json == NULL)
                return;
        (void)json_object_set_new(json, "curve",
                                  json_pack("{s:i, s:o, s:o}", "percent_step", CURVE_STEP,
                                            "told_ms", view_curve(&report->sum.told), "acted_ms",
                                            view_curve(&report->sum.acted)));
        (void)json_object_set_new(json, "samples", view_samples(live));
        publish(live, REPORT, json);
}

static bool is_report_due(const struct live *live)
{
        int64_t age = clock_wall_ms() - live->followed.sent;

        if (!live->has_followed || age > REPORT_PAST_MS)
                return false;
        return (!live->is_complete && age < REPORT_EAGER_MS) || live->ticks % REPORT_REST == 0 ||
               live->states[REPORT].text == NULL;
}

static void ask_report(struct live *live)
{
        if (may_ask(live, REPORT))
                asked(live, REPORT,
                      report_read(live->options->redis, live->options->ns, &live->followed,
                                  clock_wall_ms(), on_report, live));
}

/* --- signals: what drives the rest --------------------------------------------------------- */

static void ask_signals(struct live *live);

static void follow(struct live *live, const struct signal *signal)
{
        if (live->has_followed && token_equal(&live->followed.token, &signal->token))
                return;
        live->has_followed = true;
        live->followed = *signal;
        live->is_complete = false;
        live->n_samples = 0;
        ask_events(live);
        ask_report(live);
}

/* The log is empty, perhaps for it was lost: what is told of its last signal is of no log there is.
 */
static void follow_nothing(struct live *live)
{
        struct state *report = &live->states[REPORT];

        live->has_followed = false;
        live->n_samples = 0;
        free(report->text);
        report->text = NULL;
        report->as_of = 0;
}

static void on_signals(void *owner, enum err err, struct entry *const *entries, size_t n,
                       seqno head)
{
        struct live *live = owner;
        seqno before = live->head;
        size_t skip = n > LIVE_SIGNALS ? n - LIVE_SIGNALS : 0;

        if (!came_back(live, SIGNAL, err))
                return;
        live->head = head;
        /* The first time, after a burst, or in a log that was cut back: again, around its end. */
        if (head > 0 && (n == 0 || entries[n - 1]->signal.token.seq != head) && head != before) {
                ask_signals(live);
                return;
        }
        publish(live, SIGNAL,
                json_pack("{s:I, s:o}", "head", (json_int_t)head, "signals",
                          view_signals(entries + skip, n - skip)));
        if (n > 0)
                follow(live, &entries[n - 1]->signal);
        else if (head == 0)
                follow_nothing(live);
}

static void ask_signals(struct live *live)
{
        seqno after = live->head > LIVE_SIGNALS ? live->head - LIVE_SIGNALS : 0;

        if (may_ask(live, SIGNAL))
                asked(live, SIGNAL,
                      reader_signals(live->options->redis, live->options->ns, after,
                                     SIGNALS_AT_ONCE, on_signals, live));
}

/* --- the clock ----------------------------------------------------------------------------- */

static void tick(struct live *live)
{
        ask_signals(live);
        if (live->ticks % NODES_EVERY == 0)
                ask_nodes(live);
        if (live->ticks % EVENTS_EVERY == 0)
                ask_events(live);
        if (is_report_due(live))
                ask_report(live);
        if (live->ticks % STATUS_EVERY == 0)
                say_status(live);
        if (live->ticks % COMMENT_EVERY == COMMENT_EVERY - 1)
                broadcast(live, ":\n\n", 3); /* proxies close what is silent */
        live->ticks++;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
        (void)fd;
        (void)what;
        tick(arg);
}

/* --- streams ------------------------------------------------------------------------------- */

static void on_stream_closed(void *owner)
{
        struct stream *stream = owner;
        struct live *live = stream->live;

        LIST_REMOVE(stream, entry);
        free(stream);
        if (--live->n_streams > 0)
                return;
        evtimer_del(live->timer);
        forget(live);
}

static void refuse(struct httpd_request *request, const char *detail)
{
        httpd_add_header(request, "Retry-After", "10");
        httpd_reply_problem(request, 503, "too-many-streams", "No more live streams here", detail,
                            NULL);
}

static void begin(struct live *live, struct stream *stream, struct httpd_request *request)
{
        const struct timeval every = { LIVE_TICK_MS / 1000, LIVE_TICK_MS % 1000 * 1000 };

        *stream = (struct stream){ .live = live, .request = request };
        LIST_INSERT_HEAD(&live->streams, stream, entry);
        if (live->n_streams++ == 0) {
                live->ticks = 0;
                (void)event_add(live->timer, &every);
                tick(live);
                return;
        }
        for (unsigned i = 0; i < KINDS; i++)
                if (live->states[i].text != NULL)
                        httpd_stream_send(request, live->states[i].text, live->states[i].len);
}

void live_join(struct live *live, struct httpd_request *request)
{
        struct stream *stream = NULL;

        if (live->n_streams >= LIVE_STREAMS_MAX) {
                refuse(request, "As many look on as this node serves. Ask another node, or later.");
                return;
        }
        stream = malloc(sizeof(*stream));
        if (stream == NULL) {
                refuse(request, "Out of memory. Ask another node, or later.");
                return;
        }
        if (httpd_stream_begin(request, "text/event-stream", on_stream_closed, stream))
                begin(live, stream, request);
        else
                free(stream); /* HEAD */
}

enum err live_create(struct event_base *base, const struct admin_options *options,
                     struct live **ret_live)
{
        struct live *live = calloc(1, sizeof(*live));

        if (live == NULL)
                return ERR_NOMEM;
        live->options = options;
        live->base = base;
        LIST_INIT(&live->streams);
        live->timer = event_new(base, -1, EV_PERSIST, on_timer, live);
        if (live->timer == NULL) {
                free(live);
                return ERR_NOMEM;
        }
        *ret_live = live;
        return OK;
}

void live_destroy(struct live *live)
{
        if (live == NULL)
                return;
        check(live->n_streams == 0);
        event_free(live->timer);
        live->options = NULL;
        release(live);
}
