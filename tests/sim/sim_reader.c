/* tests/sim/sim_reader.c -- state_reader.c once more, step by step: (wait) -> state -> range,
 * range, ... -> done; and if the log has not all that the node knows, state -> wait -> state ->
 * renew -> state. What is judged is judged by the real book and renewal. */
#include <stdlib.h>
#include <string.h>

#include "fanout/renewal.h"
#include "fanout/state_reader.h"
#include "tests/sim/invariants.h"
#include "tests/sim/sim_node.h"

struct reading { /* as struct state_reader; one call or timer of it is always on its way */
        struct node *node;
        unsigned request;
        bool is_stopped;
        struct token mine;
        unsigned reads;
        bool waited;
        uint64_t intact;
        struct book *book;
        struct snapshot *snapshot;
        struct entry **entries;
        size_t n;
        seqno next;
};

static void forget_entries(struct reading *reading)
{
        while (reading->n > 0)
                entry_unref(reading->entries[--reading->n]);
}

static void destroy(void *load)
{
        struct reading *reading = load;

        forget_entries(reading);
        snapshot_unref(reading->snapshot);
        book_destroy(reading->book);
        free(reading->entries);
        free(reading);
}

static void finish(struct world *world, struct reading *reading, bool good)
{
        struct node *node = reading->node;
        struct sim_read read = { .snapshot = good ? reading->snapshot : NULL,
                                 .entries = reading->entries,
                                 .n = reading->n,
                                 .book = reading->book };

        node->reading = NULL;
        sim_node_on_state(world, node, reading->request, &read);
        reading->book = read.book;
        destroy(reading);
}

void sim_reader_stop(struct node *node)
{
        if (node->reading != NULL)
                node->reading->is_stopped = true;
        node->reading = NULL;
}

static void on_reading(struct world *world, struct call *call, bool answered);

static void send_call(struct world *world, struct reading *reading, struct call *call)
{
        if (reading->node->links.up[LINK_CALLS]) {
                sim_redis_call(world, reading->node, call);
                return;
        }
        sim_redis_unref_call(call);
        finish(world, reading, false);
}

/* --- entries -------------------------------------------------------------------------------- */

static void take_entry(struct reading *reading, struct entry *entry)
{
        const struct entry *last = reading->n > 0 ? reading->entries[reading->n - 1] : NULL;

        if (entry == NULL ||
            (last != NULL && (entry->signal.token.seq != last->signal.token.seq + 1 ||
                              entry->prev_tag != last->signal.token.tag)))
                forget_entries(reading);
        if (entry != NULL)
                reading->entries[reading->n++] = entry_ref(entry);
}

static void read_on(struct world *world, struct reading *reading)
{
        const struct token *token = snapshot_token(reading->snapshot);
        seqno first = reading->next, last = first + world->range_count - 1;
        struct call *call;

        if (first > token->seq) {
                if (reading->n > 0 &&
                    !token_equal(&reading->entries[reading->n - 1]->signal.token, token))
                        forget_entries(reading);
                finish(world, reading, true);
                return;
        }
        reading->next = last + 1;
        call = sim_redis_new_call(CALL_RANGE, on_reading, reading);
        call->witness = *token; /* released when the state was read, whatever the mark says now */
        call->from = first;
        call->to = last < token->seq ? last : token->seq;
        send_call(world, reading, call);
}

/* --- the state ------------------------------------------------------------------------------ */

static void ask_state(struct world *world, struct reading *reading)
{
        struct call *call = sim_redis_new_call(CALL_STATE, on_reading, reading);

        reading->reads++;
        call->witness = reading->mine;
        send_call(world, reading, call);
}

static void on_timer(struct world *world, void *owner, uint64_t argument, void *load)
{
        struct reading *reading = load;

        (void)owner, (void)argument;
        if (reading->is_stopped)
                destroy(reading);
        else
                ask_state(world, reading);
}

static void wait_a_part_of(struct world *world, struct reading *reading, unsigned span_ms)
{
        world_send(world, world_random(world, 0, span_ms), on_timer, NULL, 0, reading, destroy);
}

static int by_id(const void *a, const void *b)
{
        return strcmp(((const struct event_state *)a)->event,
                      ((const struct event_state *)b)->event);
}

static void take_events(struct reading *reading, const struct call *call)
{
        struct event_state states[EVENTS_AT_ALL];

        book_clear(reading->book);
        snapshot_unref(reading->snapshot);
        reading->snapshot = NULL;
        for (size_t i = 0; i < call->n_records; i++) {
                const struct model_record *record = call->records[i];

                states[i] = record->parsed->state;
                check(book_put(reading->book, record->text, strlen(record->text)) == OK);
        }
        check(book_count(reading->book) == call->n_records);
        qsort(states, call->n_records, sizeof(states[0]), by_id);
        if (call->place.token.epoch == 0)
                return;
        reading->snapshot =
            snapshot_create(&call->place.token, call->place.parent, states, call->n_records);
        check(reading->snapshot != NULL);
}

static void renew(struct world *world, struct reading *reading, uint64_t from,
                  const struct book_record *ours, size_t n)
{
        struct call *call = sim_redis_new_call(CALL_RENEW, on_reading, reading);

        reading->waited = false;
        call->witness = reading->mine;
        call->expected = from;
        call->fresh = renewal_epoch(reading->mine.epoch, from, world_u64(world));
        check(call->fresh != 0);
        call->records = calloc(n + 1, sizeof(call->records[0]));
        check(call->records != NULL);
        for (; call->n_records < n; call->n_records++) {
                const char *text = ours[call->n_records].record;
                struct event event;

                check(event_parse(text, strlen(text), &event) == OK);
                call->records[call->n_records] = sim_book_record(&event, text);
        }
        send_call(world, reading, call);
}

static void renew_or_read_on(struct world *world, struct reading *reading, const struct call *call)
{
        const struct token *mine = &reading->mine, *there = &call->place.token;
        struct book_record ours[EVENTS_AT_ALL];
        struct book_text theirs[EVENTS_AT_ALL];
        size_t n;

        for (size_t i = 0; i < call->n_records; i++)
                theirs[i] =
                    (struct book_text){ call->records[i]->text, strlen(call->records[i]->text) };
        n = book_later_than(reading->node->book, theirs, call->n_records, ours, EVENTS_AT_ALL);
        if (!renewal_is_needed(mine, &call->place, call->lost, n) ||
            (there->epoch != 0 && there->epoch == reading->intact)) {
                size_t keep = world->ring_capacity;

                reading->next = there->seq > keep ? there->seq - keep + 1 : 1;
                read_on(world, reading);
        } else if (reading->reads >= RENEWAL_TRIES) {
                finish(world, reading, false);
        } else if (reading->waited || (mine->epoch == 0 && there->epoch == 0)) {
                renew(world, reading, there->epoch, ours, n);
        } else {
                reading->waited = true;
                wait_a_part_of(world, reading, RENEWAL_SPREAD_MS);
        }
}

/* --- answers -------------------------------------------------------------------------------- */

static void on_reading(struct world *world, struct call *call, bool answered)
{
        struct reading *reading = call->owner;
        struct node *node = call->node;

        if (answered)
                node->answered_ms = world->now_ms;
        if (reading->is_stopped) {
                destroy(reading);
        } else if (!answered || call->refused) {
                finish(world, reading, false);
        } else if (call->kind == CALL_STATE) {
                take_events(reading, call);
                renew_or_read_on(world, reading, call);
        } else if (call->kind == CALL_RENEW) {
                if (call->renewal == MODEL_INTACT)
                        reading->intact = call->place.token.epoch;
                ask_state(world, reading);
        } else if (call->place.token.epoch != snapshot_token(reading->snapshot)->epoch) {
                finish(world, reading, false);
        } else {
                for (size_t i = 0; i < call->n_entries && reading->n < world->ring_capacity; i++)
                        take_entry(reading, call->entries[i]);
                read_on(world, reading);
        }
}

void sim_reader_start(struct world *world, struct node *node, unsigned request)
{
        struct reading *reading = calloc(1, sizeof(*reading));

        check(reading != NULL);
        sim_reader_stop(node);
        node->reading = reading;
        reading->node = node;
        reading->request = request;
        reading->mine = *follower_core_witness(&node->core);
        reading->entries = calloc(world->ring_capacity, sizeof(struct entry *));
        check(reading->entries != NULL && book_create(&reading->book) == OK);
        wait_a_part_of(world, reading, reading->mine.epoch != 0 ? STATE_READER_SPREAD_MS : 0);
}
