/* prefetch/sweeper.c -- see the header. One walk is one chain of questions, each asked when the one
 * before is answered: notes -> events -> rows of each -> deletions. Whatever looks like a hash in a
 * row counts as named, so that rows of a later version keep their bodies, too. */
#include "prefetch/sweeper.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "fanout/reader.h"
#include "prefetch/bundle.h"
#include "proto/keys.h"

#define NOTES_AT_ONCE "1000"
#define DELETIONS_AT_ONCE \
        64 /* of at most 1 MiB each: Redis stands still for as long as that takes */

struct body {
        char sha256[BUNDLE_SHA_TEXT + 1];
        bool is_named;
};

struct walk { /* has one question under way; outlives the sweeper if Redis is slow */
        struct sweeper *sweeper; /* NULL: gone */
        int64_t before;          /* notes up to then are looked at */
        char cursor[24];         /* of the notes */
        struct body *bodies;     /* once all are there: sorted, each once */
        size_t n_bodies, capacity;
        char (*events)[EVENT_ID_MAX + 1];
        size_t n_events, at_event;
        bool in_bundles; /* the event's drafts have been read */
        size_t at_body;  /* up to here they are dealt with */
        unsigned deleted;
};

struct sweeper {
        struct sweeper_options options;
        char ns[NAMESPACE_MAX + 1];
        struct event *timer;
        struct walk *walk; /* NULL: none is under way */
};

static void arm(struct sweeper *sweeper, uint64_t wait_ms)
{
        const struct timeval wait = { (time_t)(wait_ms / 1000),
                                      (suseconds_t)(wait_ms % 1000 * 1000) };

        check(event_add(sweeper->timer, &wait) == 0);
}

static void walk_free(struct walk *walk)
{
        free(walk->bodies);
        free(walk->events);
        free(walk);
}

/* The sweeper may be destroyed in here. */
static void end(struct walk *walk, enum err err, const char *why)
{
        struct sweeper *sweeper = walk->sweeper;
        struct sweeper_options options = sweeper->options;
        unsigned deleted = walk->deleted;

        if (err != OK && err != ERR_UNAVAILABLE && err != ERR_TIMEOUT) /* the link tells of those */
                log_warn("BODIES-NOT-SWEPT", "why=%s", log_quote(why));
        if (walk->n_bodies > 0 && err == OK)
                log_info("BODIES-SWEPT", "deleted=%u named=%zu", deleted, walk->n_bodies - deleted);
        walk_free(walk);
        sweeper->walk = NULL;
        arm(sweeper, options.every_ms);
        if (options.on_done != NULL)
                options.on_done(options.owner, err, deleted);
}

/* True: the answer is one, and of this type. Else the walk has ended. */
static bool answered(struct walk *walk, const struct redis_reply *reply, enum redis_type type)
{
        if (walk->sweeper == NULL) {
                walk_free(walk);
                return false;
        }
        if (reply != NULL && redis_type(reply) == type)
                return true;
        if (reply == NULL)
                end(walk, ERR_TIMEOUT, "");
        else
                end(walk, ERR_IO,
                    redis_type(reply) == REDIS_ERROR ? redis_text(reply, NULL)
                                                     : "an answer of another kind");
        return false;
}

static void asked(struct walk *walk, enum err err)
{
        if (err != OK)
                end(walk, err, "out of memory");
}

/* --- deletions ------------------------------------------------------------------------------- */

static void sweep_more(struct walk *walk);

static void on_swept(void *owner, const struct redis_reply *reply)
{
        struct walk *walk = owner;

        if (!answered(walk, reply, REDIS_INTEGER))
                return;
        walk->deleted += (unsigned)redis_integer(reply);
        sweep_more(walk);
}

static void sweep_more(struct walk *walk)
{
        const struct sweeper *sweeper = walk->sweeper;
        const char *argv[3 + 1 + DELETIONS_AT_ONCE + 1 + 2 * DELETIONS_AT_ONCE];
        char keys[1 + DELETIONS_AT_ONCE][KEY_MAX + 1], count[8], before[24];
        size_t n = walk->n_bodies - walk->at_body;
        int argc = 0;

        if (n == 0) {
                end(walk, OK, "");
                return;
        }
        n = n < DELETIONS_AT_ONCE ? n : DELETIONS_AT_ONCE;
        snprintf(count, sizeof(count), "%zu", n + 1);
        snprintf(before, sizeof(before), "%" PRId64, walk->before);
        argv[argc++] = "FCALL";
        argv[argc++] = "kickoff1_sweep";
        argv[argc++] = count;
        key_format(keys[0], sweeper->ns, KEY_REPLACED, NULL);
        argv[argc++] = keys[0];
        for (size_t i = 0; i < n; i++) {
                key_format(keys[1 + i], sweeper->ns, KEY_BODY,
                           walk->bodies[walk->at_body + i].sha256);
                argv[argc++] = keys[1 + i];
        }
        argv[argc++] = before;
        for (size_t i = 0; i < n; i++) {
                const struct body *body = &walk->bodies[walk->at_body + i];

                argv[argc++] = body->sha256;
                argv[argc++] = body->is_named ? "1" : "0";
        }
        walk->at_body += n;
        asked(walk, redis_command(sweeper->options.writes, on_swept, walk, argc, argv, NULL));
}

/* --- rows ------------------------------------------------------------------------------------ */

static int by_hash(const void *a, const void *b)
{
        return strcmp(((const struct body *)a)->sha256, ((const struct body *)b)->sha256);
}

static void name(struct walk *walk, const char *hash)
{
        struct body wanted = { .is_named = false }, *found;

        memcpy(wanted.sha256, hash, BUNDLE_SHA_TEXT);
        wanted.sha256[BUNDLE_SHA_TEXT] = '\0';
        found = bsearch(&wanted, walk->bodies, walk->n_bodies, sizeof(wanted), by_hash);
        if (found != NULL)
                found->is_named = true;
}

static void take_row(struct walk *walk, const char *row)
{
        while (*row != '\0') {
                size_t len = strspn(row, "0123456789abcdef");

                if (len == BUNDLE_SHA_TEXT)
                        name(walk, row);
                row += len > 0 ? len : 1;
        }
}

static void ask_rows(struct walk *walk);

static void on_rows(void *owner, const struct redis_reply *reply)
{
        struct walk *walk = owner;

        if (!answered(walk, reply, REDIS_ARRAY))
                return;
        for (size_t i = 0; i < redis_count(reply); i++)
                take_row(walk, redis_text(redis_at(reply, i), NULL));
        walk->at_event += walk->in_bundles;
        walk->in_bundles = !walk->in_bundles;
        ask_rows(walk);
}

static void ask_rows(struct walk *walk)
{
        const struct sweeper *sweeper = walk->sweeper;
        char key[KEY_MAX + 1];
        const char *const argv[] = { "HVALS", key };

        if (walk->at_event == walk->n_events) {
                sweep_more(walk);
                return;
        }
        key_format(key, sweeper->ns, walk->in_bundles ? KEY_BUNDLES : KEY_DRAFTS,
                   walk->events[walk->at_event]);
        asked(walk,
              redis_command(sweeper->options.reads, on_rows, walk, countof(argv), argv, NULL));
}

static void on_events(void *owner, enum err err, const struct event *events, size_t n)
{
        struct walk *walk = owner;

        if (walk->sweeper == NULL) {
                walk_free(walk);
                return;
        }
        if (err == OK) {
                walk->events = calloc(n + 1, sizeof(walk->events[0]));
                if (walk->events == NULL)
                        err = ERR_NOMEM;
        }
        if (err != OK) {
                end(walk, err, "the events could not be read");
                return;
        }
        for (size_t i = 0; i < n; i++)
                strcpy(walk->events[i], events[i].state.event);
        walk->n_events = n;
        ask_rows(walk);
}

/* --- notes ----------------------------------------------------------------------------------- */

/* A scan may tell of one twice. */
static void sort_bodies(struct walk *walk)
{
        size_t kept = 0;

        qsort(walk->bodies, walk->n_bodies, sizeof(walk->bodies[0]), by_hash);
        for (size_t i = 0; i < walk->n_bodies; i++)
                if (kept == 0 || by_hash(&walk->bodies[kept - 1], &walk->bodies[i]) != 0)
                        walk->bodies[kept++] = walk->bodies[i];
        walk->n_bodies = kept;
}

static bool make_room(struct walk *walk)
{
        size_t capacity = walk->capacity > 0 ? 2 * walk->capacity : 64;
        struct body *bodies;

        if (walk->n_bodies < walk->capacity)
                return true;
        bodies = realloc(walk->bodies, capacity * sizeof(*bodies));
        if (bodies == NULL)
                return false;
        walk->bodies = bodies;
        walk->capacity = capacity;
        return true;
}

/* False = no memory. */
static bool take_notes(struct walk *walk, const struct redis_reply *notes)
{
        for (size_t i = 0; i + 1 < redis_count(notes) && walk->n_bodies < SWEEPER_BODIES_MAX;
             i += 2) {
                size_t len;
                const char *hash = redis_text(redis_at(notes, i), &len);
                int64_t since = strtoll(redis_text(redis_at(notes, i + 1), NULL), NULL, 10);

                if (len != BUNDLE_SHA_TEXT || since > walk->before)
                        continue;
                if (!make_room(walk))
                        return false;
                walk->bodies[walk->n_bodies].is_named = false;
                memcpy(walk->bodies[walk->n_bodies++].sha256, hash, len + 1);
        }
        return true;
}

static void ask_notes(struct walk *walk);

static void on_notes(void *owner, const struct redis_reply *reply)
{
        struct walk *walk = owner;
        const struct sweeper *sweeper = walk->sweeper;

        if (!answered(walk, reply, REDIS_ARRAY))
                return;
        snprintf(walk->cursor, sizeof(walk->cursor), "%s", redis_text(redis_at(reply, 0), NULL));
        if (!take_notes(walk, redis_at(reply, 1))) {
                end(walk, ERR_NOMEM, "out of memory");
        } else if (strcmp(walk->cursor, "0") != 0 && walk->n_bodies < SWEEPER_BODIES_MAX) {
                ask_notes(walk);
        } else if (walk->n_bodies == 0) {
                end(walk, OK, "");
        } else {
                sort_bodies(walk);
                asked(walk,
                      reader_events(sweeper->options.reads, sweeper->ns, NULL, on_events, walk));
        }
}

static void ask_notes(struct walk *walk)
{
        const struct sweeper *sweeper = walk->sweeper;
        char key[KEY_MAX + 1];
        const char *const argv[] = { "HSCAN", key, walk->cursor, "COUNT", NOTES_AT_ONCE };

        key_format(key, sweeper->ns, KEY_REPLACED, NULL);
        asked(walk,
              redis_command(sweeper->options.reads, on_notes, walk, countof(argv), argv, NULL));
}

/* --- the sweeper ------------------------------------------------------------------------------ */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
        struct sweeper *sweeper = arg;
        struct walk *walk = calloc(1, sizeof(*walk));

        (void)fd;
        (void)what;
        if (walk == NULL) {
                arm(sweeper, sweeper->options.every_ms);
                return;
        }
        walk->sweeper = sweeper;
        walk->before = clock_wall_ms() - sweeper->options.grace_ms;
        strcpy(walk->cursor, "0");
        sweeper->walk = walk;
        ask_notes(walk);
}

enum err sweeper_create(struct event_base *base, const struct sweeper_options *options,
                        struct sweeper **ret_sweeper)
{
        struct sweeper *sweeper = calloc(1, sizeof(*sweeper));

        if (sweeper == NULL)
                return ERR_NOMEM;
        sweeper->options = *options;
        check(strlen(options->ns) <= NAMESPACE_MAX);
        strcpy(sweeper->ns, options->ns);
        if (sweeper->options.every_ms == 0)
                sweeper->options.every_ms = SWEEPER_EVERY_MS;
        if (sweeper->options.grace_ms == 0)
                sweeper->options.grace_ms = SWEEPER_GRACE_MS;
        sweeper->timer = evtimer_new(base, on_timer, sweeper);
        if (sweeper->timer == NULL) {
                free(sweeper);
                return ERR_NOMEM;
        }
        arm(sweeper, rng_secure_u64() % sweeper->options.every_ms);
        *ret_sweeper = sweeper;
        return OK;
}

void sweeper_destroy(struct sweeper *sweeper)
{
        if (sweeper == NULL)
                return;
        if (sweeper->walk != NULL)
                sweeper->walk->sweeper = NULL; /* its answer frees it */
        event_free(sweeper->timer);
        free(sweeper);
}
