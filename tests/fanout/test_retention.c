/* How far back a node reads when it starts, or must start anew: what its ring would still hold, had
 * it been there (contract line 5). Real Redis, real follower. */
#include "fanout/book.h"
#include "fanout/state_reader.h"

#include "tests/fanout/node.h"

#define KEEP     RING_CAPACITY_DEFAULT
#define KEEP_MAX RING_CAPACITY_MAX
#define EPOCH    0x0001aaaaaaaaaaaaULL /* as the fixture opens the log */

/* Appends `n` entries as the function writes them, `step_ms` apart, the first sent at `sent`.
 * Number i has tag i in hex; number 0 is the tag with which the fixture opened the log, as the
 * first `prev`. */
static void burst(struct test_redis *server, const char *n, const char *sent, const char *step_ms)
{
        const char *fill =
            "local seq = tonumber(redis.call('HGET', KEYS[1], 'seq')) "
            "local prev = redis.call('HGET', KEYS[1], 'tag') "
            "for i = 1, tonumber(ARGV[1]) do seq = seq + 1 "
            "local at = string.format('%.0f', tonumber(ARGV[2]) + (i - 1) * tonumber(ARGV[3])) "
            "local tag = string.format('%016x', seq) "
            "redis.call('XADD', KEYS[2], seq .. '-0', 'tag', tag, 'prev', prev, 'body', "
            "'{\"kind\":\"stage\",\"event\":\"final\",\"stage\":\"part-' .. seq .. '\",\"at\":' .. at .. "
            "',\"starts_at\":' .. at .. ',\"version\":' .. seq + 1 .. ',\"bundle\":0,\"sent\":' .. at .. '}') "
            "prev = tag end redis.call('HSET', KEYS[1], 'seq', seq, 'tag', prev) return seq";

        test_redis_do(server, "EVAL", fill, "2", META, LOG, n, sent, step_ms, NULL);
}

static void start(struct node *node, struct fixture *f, size_t keep, size_t keep_max)
{
        node_start_keeping(node, f, fixture_address(f->server), keep, keep_max, 0);
        run_until(f->base, follower_is_ready(node->follower));
}

/* A device that has `seq` gets all that came after it, in order. */
static void replays_from(const struct node *node, seqno seq)
{
        struct token token = { EPOCH, seq, seq };

        cr_assert(eq(int, ring_judge(node->ring, &token), RING_KEPT), "%llu is not kept",
                  (unsigned long long)seq);
        for (seqno next = seq + 1; next <= head(node); next++) {
                struct entry *entry = ring_at(node->ring, next);

                cr_assert(entry != NULL && entry->signal.token.seq == next &&
                          entry->signal.token.tag == next);
        }
}

Test(retention, a_node_that_starts_after_a_burst_replays_it_from_its_first_signal)
{
        struct fixture f = fixture_start();
        struct node node;

        burst(f.server, "20000", "1790000000000", "3"); /* a minute */
        start(&node, &f, KEEP, KEEP_MAX);
        cr_assert(eq(u64, head(&node), 20000));
        replays_from(&node, 1);
        cr_assert(eq(u64, ring_oldest_cursor(node.ring), 0));
        /* and so does the next one, with what came since: 20,000 later, but all within a day */
        node_stop(&node);
        burst(f.server, "20000", "1790040000000", "3");
        start(&node, &f, KEEP, KEEP_MAX);
        cr_assert(eq(u64, head(&node), 40000));
        replays_from(&node, 1);
        node_stop(&node);
        fixture_stop(&f);
}

struct row {
        const char *old, *young; /* a burst a week ago, then one within a second */
        const char *trimmed,
            *gone; /* then Redis trims below the one, and loses the other; or NULL */
        size_t keep, keep_max;
        size_t read_back; /* by the node, at least what is young ... */
        seqno oldest;     /* ... of which its ring keeps what comes after this */
};

static const struct row rows[] = {
        { "1000", "8", NULL, NULL, 8, 512, 8, 1000 },  /* at the limit: none beyond is young */
        { "1000", "9", NULL, NULL, 8, 512, 16, 1000 }, /* one past it */
        { "1000", "17", NULL, NULL, 8, 512, 32, 1000 },
        { "1000", "300", NULL, NULL, 8, 512, 512, 1000 },
        { "0", "512", NULL, NULL, 8, 512, 512, 0 }, /* as much as it may be */
        { "0", "513", NULL, NULL, 8, 512, 512, 1 }, /* one past that */
        { "1000", "2000", NULL, NULL, 8, 500, 500, 2500 },
        { "1000", "300", NULL, NULL, 8, 0, 8, 1292 }, /* it may not grow */
        { "1000", "0", NULL, NULL, 8, 512, 512,
          488 }, /* only an entry that is newer makes them old */
        { "1000", "1", NULL, NULL, 8, 512, 8, 993 },
        { "5", "0", NULL, NULL, 8, 512, 5, 0 }, /* a log that is shorter than all that */
        { "0", "0", NULL, NULL, 8, 512, 0, 0 },
        { "0", "300", "101", NULL, 8, 512, 200, 100 }, /* all that Redis has */
        { "0", "300", "295", NULL, 8, 512, 6, 294 },   /* which is less than is kept anyway */
        { "0", "300", NULL, "284", 8, 512, 16, 284 },  /* a hole where it looks: not beyond it */
        { "0", "300", NULL, "250", 8, 512, 50, 250 },  /* a hole elsewhere */
};

Test(retention, age_decides_how_much_is_read_back_and_the_largest_size_bounds_it)
{
        for (size_t i = 0; i < countof(rows); i++) {
                const struct row *row = &rows[i];
                struct fixture f = fixture_start();
                struct node node;

                burst(f.server, row->old, "1790000000000", "1");
                burst(f.server, row->young, "1790600000000", "1");
                if (row->trimmed != NULL)
                        test_redis_do(f.server, "XTRIM", LOG, "MINID", row->trimmed, NULL);
                if (row->gone != NULL)
                        test_redis_do(f.server, "XDEL", LOG, row->gone, NULL);
                start(&node, &f, row->keep, row->keep_max);
                cr_assert(eq(u64, head(&node), (seqno)(atoi(row->old) + atoi(row->young))));
                cr_assert(eq(sz, node.read_back, row->read_back), "row %zu", i);
                cr_assert(eq(u64, ring_oldest_cursor(node.ring), row->oldest), "row %zu", i);
                if (head(&node) > 0)
                        replays_from(&node, row->oldest > 0 ? row->oldest : 1);
                node_stop(&node);
                fixture_stop(&f);
        }
}

Test(retention, an_entry_of_unknown_age_does_not_make_it_read_more)
{
        struct fixture f = fixture_start();
        struct node node;

        burst(f.server, "291", "1790000000000", "1");
        test_redis_do(f.server, "XADD", LOG, "292-0", "tag", "0000000000000124", "prev",
                      "0000000000000123", "body", "?", NULL);
        test_redis_do(f.server, "HSET", META, "seq", "292", "tag", "0000000000000124", NULL);
        burst(f.server, "8", "1790000000000", "1");
        start(&node, &f, 8, 512);
        replays_from(&node, 292);
        cr_assert(eq(sz, node.read_back, 8));
        node_stop(&node);
        fixture_stop(&f);
}

/* --- time ------------------------------------------------------------------------------------- */

struct reading {
        bool done;
        size_t n;
        seqno first, last;
};

static void on_read(void *owner, enum err err, const struct state_read *read, const char *why)
{
        struct reading *reading = owner;

        cr_assert(eq(int, err, OK), "%s", why);
        reading->done = true;
        reading->n = read->n;
        reading->first = read->entries[0]->signal.token.seq;
        reading->last = read->entries[read->n - 1]->signal.token.seq;
        book_destroy(read->book);
}

Test(retention, a_node_that_reads_too_long_makes_do_with_what_is_always_kept)
{
        struct fixture f = fixture_start();
        struct book *nothing = NULL;
        bool lost_said = false;
        struct state_reader_options options = { .base = f.base,
                                                .redis = f.redis,
                                                .ns = NS,
                                                .keep = 1000,
                                                .keep_max = KEEP_MAX,
                                                .lost_said = &lost_said };

        burst(f.server, "20000", "1790000000000", "1");
        cr_assert(eq(int, book_create(&nothing), OK));
        options.book = nothing;
        for (unsigned row = 0; row < 2; row++) {
                struct reading reading = { 0 };
                struct state_reader *reader = NULL;

                options.back_ms =
                    row == 0 ? 1 : 0; /* forty times over before it has read all; or enough */
                cr_assert(eq(int, state_reader_start(&options, on_read, &reading, &reader), OK));
                run_until(f.base, reading.done);
                cr_assert(eq(sz, reading.n, row == 0 ? 1000 : 20000));
                cr_assert(eq(u64, reading.first, row == 0 ? 19001 : 1));
                cr_assert(eq(u64, reading.last, 20000));
        }
        book_destroy(nothing);
        fixture_stop(&f);
}

/* --- Redis' own part -------------------------------------------------------------------------- */

#define KEPT_ENTRIES 1000
#define KEPT_MS      10000

/* The append whose number is the next multiple of 256: the one that trims. At `now`. */
static seqno trimming_append(struct fixture *f, int64_t now)
{
        struct token head = fixture_place(f->server);
        char count[24], at[24], seq[24], tag[17], event[32], body[40], entries[24], ms[24];
        char *answer;

        snprintf(at, sizeof(at), "%lld", (long long)now);
        snprintf(count, sizeof(count), "%llu", (unsigned long long)(255 - head.seq % 256));
        burst(f->server, count, at, "0");
        head = fixture_place(f->server);
        cr_assert(eq(u64, head.seq % 256, 255));
        snprintf(seq, sizeof(seq), "%llu", (unsigned long long)head.seq);
        snprintf(event, sizeof(event), "event-%s", seq);
        snprintf(body, sizeof(body), "{\"sent\":%s}", at);
        snprintf(entries, sizeof(entries), "%d", KEPT_ENTRIES);
        snprintf(ms, sizeof(ms), "%d", KEPT_MS);
        token_hex(head.tag, tag);
        answer =
            test_redis_ask(f->server, "FCALL", "kickoff1_append", "6", LOG, META, EVENTS,
                           "{" NS "}:r", "{" NS "}:b", "{" NS "}:d", event, "0", "{\"version\":1}",
                           body, "3333333333333333", "PUBLISH", "c", "0", "", "60", "1024", entries,
                           ms, at, "0", "0001aaaaaaaaaaaa", seq, tag, NULL);
        cr_assert(eq(int, strncmp(answer, "committed", 9), 0), "%s", answer);
        free(answer);
        return head.seq + 1;
}

static seqno first_in(struct test_redis *server)
{
        char *answer = test_redis_ask(server, "XRANGE", LOG, "-", "+", "COUNT", "1", NULL);
        seqno first = strtoull(answer, NULL, 10);

        free(answer);
        return first;
}

Test(retention, redis_gives_a_burst_back_twice_as_fast_as_the_log_grows_but_no_sooner_than_it_may)
{
        struct fixture f = fixture_start();
        const int64_t began = 1790000000000LL;
        seqno seq, first;

        burst(f.server, "8000", "1790000000000", "1"); /* entry n was sent at began + n - 1 */
        /* None is old enough, however many there are. */
        seq = trimming_append(&f, began + 8000);
        cr_assert(eq(u64, first_in(f.server), 1));
        /* The first 513 are older than KEPT_MS by 1 ms, then the 514th as well. */
        seq = trimming_append(&f, began + 512 + KEPT_MS);
        cr_assert(eq(u64, first_in(f.server), 1));
        seq = trimming_append(&f, began + 513 + KEPT_MS);
        cr_assert(eq(u64, first_in(f.server), 513));
        /* All of the burst is old: 512 leave for 256 that come. */
        for (first = 1025; first < 8000; first += 512) {
                seq = trimming_append(&f, began + 8000 + 2 * KEPT_MS);
                cr_assert(eq(u64, first_in(f.server), first));
        }
        /* Everything is old: what is kept in any case stays, and no more than one look's worth
         * beyond. */
        for (int i = 0; i < 40; i++) {
                seq = trimming_append(&f, began + 100 * KEPT_MS * (i + 1));
                cr_assert(le(u64, first_in(f.server), seq - KEPT_ENTRIES));
        }
        cr_assert(ge(u64, first_in(f.server), seq - KEPT_ENTRIES - 512));
        fixture_stop(&f);
}
