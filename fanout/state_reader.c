/* fanout/state_reader.c -- (wait) -> state -> probe, probe, ... -> range, range, ... -> done.
 * The log has not all that we know, or there is none: state -> wait -> state -> renew -> state ->
 * ranges.
 *
 * The waits are random, so that the nodes that lost their log together neither read it nor renew it
 * in one moment: usually the second state shows that another has renewed, and nothing is left to
 * do. If there is nothing to give back, because nothing is here and nothing is there, nobody waits.
 *
 * `keep` entries are read back in any case. Whether there are more that are young is found out by
 * single entries before these, each twice as far back as the one before, until one is old: usually
 * the first. So up to twice as many are read as are young, and the ring lets the old ones go.
 *
 * The state is one atomic read, the entries are not: the log may be trimmed, or become another,
 * between two ranges. An entry that is missing, does not chain or cannot be read (written by a
 * newer version) cuts off all before it: what is kept has no hole, and devices whose place lies
 * before the cut get a reset. If the entries do not end exactly at the state's token, none is kept.
 * An event that cannot be read is another matter: a state without it would be a lie, so there is
 * none. */
#include "fanout/state_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "fanout/answer.h"
#include "fanout/event.h"
#include "fanout/fanout_metrics.h"
#include "fanout/follower_core.h"
#include "fanout/renewal.h"
#include "fanout/ring.h"
#include "proto/keys.h"

struct state_reader {
        struct state_reader_options options;
        state_reader_fn *done; /* NULL: stopped; an answer is due, which frees this */
        void *owner;
        struct event *timer;
        struct rng rng;
        bool in_flight;
        /* renewing */
        unsigned reads;  /* of the state */
        bool waited;     /* since the last try */
        bool is_held;    /* the last try found something held back, and had to leave it */
        uint64_t intact; /* the epoch of which Redis itself said that it has lost nothing */
        size_t n_given;  /* records sent with the last try */
        uint64_t from;   /* the epoch before it */
        /* what is read */
        struct book *book;
        struct snapshot *snapshot;
        struct entry **entries; /* in a buffer of `size` places; NULL before the first range */
        size_t n, size;
        seqno next; /* first number of the range asked for */
        /* how far back */
        int64_t newest_sent;
        bool is_newest_known;
        size_t span;       /* entries that will be read, so far as is known */
        uint64_t begun_ms; /* the first range */
};

static void forget_entries(struct state_reader *reader)
{
        while (reader->n > 0)
                entry_unref(reader->entries[--reader->n]);
}

static void destroy(struct state_reader *reader)
{
        forget_entries(reader);
        snapshot_unref(reader->snapshot);
        book_destroy(reader->book);
        if (reader->timer != NULL)
                event_free(reader->timer);
        free(reader->entries);
        free(reader);
}

static void finish(struct state_reader *reader, enum err err, const char *why)
{
        const struct state_read read = { .snapshot = reader->snapshot,
                                         .entries = reader->entries,
                                         .n = reader->n,
                                         .book = reader->book };

        if (err == OK)
                reader->book = NULL;
        reader->done(reader->owner, err, err == OK ? &read : NULL, why);
        destroy(reader);
}

void state_reader_stop(struct state_reader *reader)
{
        if (reader == NULL)
                return;
        reader->done = NULL;
        if (!reader->in_flight)
                destroy(reader);
        else
                event_del(reader->timer);
}

static void called(struct state_reader *reader, enum err err)
{
        reader->in_flight = err == OK;
        if (err == ERR_TOO_LARGE)
                finish(reader, err,
                       "there is no later generation for a new epoch: the log in Redis, and all "
                       "nodes' memory, must begin anew");
        else if (err == ERR_NOMEM)
                finish(reader, err, "the node is out of memory");
        else if (err != OK)
                finish(reader, err, "Redis went away while the log was read");
}

static void call(struct state_reader *reader, redis_reply_fn *on_reply, int argc,
                 const char *const *argv)
{
        called(reader, redis_command(reader->options.redis, on_reply, reader, argc, argv, NULL));
}

/* Every answer comes through here. False: nobody is there to hear it. */
static bool landed(struct state_reader *reader)
{
        reader->in_flight = false;
        if (reader->done != NULL)
                return true;
        destroy(reader);
        return false;
}

/* No answer, an error, or not what we asked for. True: finished. */
static bool failed(struct state_reader *reader, const struct redis_reply *reply, size_t place_at,
                   struct place *ret_place)
{
        if (reply == NULL)
                finish(reader, ERR_TIMEOUT, "Redis did not answer");
        else if (answer_lacks_function(reply))
                finish(reader, ERR_NOT_FOUND, "Redis lacks our functions");
        else if (answer_is_error(reply))
                finish(reader, ERR_IO, redis_text(reply, NULL));
        else if (answer_place(reply, place_at, ret_place) != OK)
                finish(reader, ERR_IO, "the log's place in Redis cannot be read");
        else
                return false;
        return true;
}

/* --- entries -------------------------------------------------------------------------------- */

static void take_entry(struct state_reader *reader, const struct redis_reply *reply, uint64_t epoch)
{
        struct entry *entry = NULL;
        const struct entry *last = reader->n > 0 ? reader->entries[reader->n - 1] : NULL;

        if (answer_entry(reply, epoch, &entry) != OK) {
                log_error("ENTRY-UNREADABLE", "entry=%s",
                          log_quote(redis_text(redis_at(reply, 0), NULL)));
                metric_add(&fanout_metric_log_unreadable, 1);
                forget_entries(reader);
                return;
        }
        if (last != NULL && (entry->signal.token.seq != last->signal.token.seq + 1 ||
                             entry->prev_tag != last->signal.token.tag))
                forget_entries(reader);
        entry_drop_record(entry);
        reader->entries[reader->n++] = entry; /* at most `size` numbers are asked for */
}

static void ask_range(struct state_reader *reader, redis_reply_fn *on_reply, seqno first,
                      seqno last, const char *count)
{
        char meta[KEY_MAX + 1], log[KEY_MAX + 1], from[24], to[24];
        struct witness at;
        const char *const argv[] = { "FCALL_RO", "kickoff1_range", "2",    meta,  log, from, to,
                                     count,      at.epoch,         at.seq, at.tag };

        answer_witness(snapshot_token(reader->snapshot),
                       &at); /* released when the state was read, whatever the mark says now */
        key_format(meta, reader->options.ns, KEY_META, NULL);
        key_format(log, reader->options.ns, KEY_LOG, NULL);
        snprintf(from, sizeof(from), "%llu", (unsigned long long)first);
        snprintf(to, sizeof(to), "%llu", (unsigned long long)last);
        call(reader, on_reply, countof(argv), argv);
}

/* True: finished, or nobody is there to hear it. */
static bool range_failed(struct state_reader *reader, const struct redis_reply *reply,
                         struct place *ret_place)
{
        if (!landed(reader) || failed(reader, reply, 0, ret_place))
                return true;
        if (ret_place->token.epoch == snapshot_token(reader->snapshot)->epoch)
                return false;
        finish(reader, ERR_CONFLICT, "the log began anew while it was read");
        return true;
}

static void on_range(void *owner, const struct redis_reply *reply);

/* It takes too long: the newest `keep` must do. */
static void cut_short(struct state_reader *reader, seqno head)
{
        uint32_t back_ms = reader->options.back_ms;
        seqno shortest = head >= reader->options.keep ? head - reader->options.keep + 1 : 1;

        if (back_ms == 0)
                back_ms = STATE_READER_BACK_MS;
        if (reader->next >= shortest || clock_mono_ms() - reader->begun_ms < back_ms)
                return;
        log_warn("LOG-CUT-SHORT", "head=%llu from=%llu read=%zu", (unsigned long long)head,
                 (unsigned long long)shortest, reader->n);
        forget_entries(reader);
        reader->next = shortest;
}

static void read_on(struct state_reader *reader)
{
        const struct token *token = snapshot_token(reader->snapshot);

        if (reader->next > token->seq) {
                if (reader->n > 0 &&
                    !token_equal(&reader->entries[reader->n - 1]->signal.token, token))
                        forget_entries(reader);
                finish(reader, OK, "");
                return;
        }

        cut_short(reader, token->seq);

        seqno first = reader->next, last = first + FOLLOWER_RANGE_COUNT - 1;

        reader->next = last + 1;
        ask_range(reader, on_range, first, last < token->seq ? last : token->seq, "512");
}

static void on_range(void *owner, const struct redis_reply *reply)
{
        struct state_reader *reader = owner;
        struct place place;

        if (range_failed(reader, reply, &place))
                return;

        const struct redis_reply *list = redis_at(reply, ANSWER_PLACE_MEMBERS);

        for (size_t i = 0; list != NULL && i < redis_count(list) && reader->n < reader->size; i++)
                take_entry(reader, redis_at(list, i), place.token.epoch);
        read_on(reader);
}

/* --- how far back --------------------------------------------------------------------------- */

static void read_from(struct state_reader *reader, seqno first)
{
        reader->next = first;
        reader->size = snapshot_token(reader->snapshot)->seq - first + 1;
        reader->entries = calloc(reader->size + 1, sizeof(struct entry *));
        reader->begun_ms = clock_mono_ms();
        if (reader->entries == NULL)
                finish(reader, ERR_NOMEM, "the node is out of memory");
        else
                read_on(reader);
}

static void read_span(struct state_reader *reader)
{
        seqno head = snapshot_token(reader->snapshot)->seq;

        read_from(reader, head > reader->span ? head - reader->span + 1 : 1);
}

static void on_probe(void *owner, const struct redis_reply *reply);

/* The newest entry, then the one just beyond the span. */
static void probe(struct state_reader *reader)
{
        seqno head = snapshot_token(reader->snapshot)->seq;

        if (head <= reader->span || reader->span >= reader->options.keep_max)
                read_span(reader);
        else
                ask_range(reader, on_probe, reader->is_newest_known ? head - reader->span : head,
                          head, "1");
}

static void on_probe(void *owner, const struct redis_reply *reply)
{
        struct state_reader *reader = owner;
        struct entry *entry = NULL;
        struct place place;

        if (range_failed(reader, reply, &place))
                return;
        /* One that cannot be read is of no known age: it does not make us read more. */
        if (answer_entry(redis_at(redis_at(reply, ANSWER_PLACE_MEMBERS), 0), place.token.epoch,
                         &entry) != OK) {
                read_span(reader);
                return;
        }

        const seqno head = snapshot_token(reader->snapshot)->seq, seq = entry->signal.token.seq;
        const int64_t sent = entry->signal.sent;

        entry_unref(entry);
        if (!reader->is_newest_known) {
                reader->is_newest_known = true;
                reader->newest_sent = sent;
                probe(reader);
        } else if (!ring_is_young(sent, reader->newest_sent)) {
                read_span(reader);
        } else if (seq > head - reader->span) {
                read_from(reader, seq); /* all that Redis still has before it is gone */
        } else {
                reader->span = reader->span * 2 < reader->options.keep_max
                                   ? reader->span * 2
                                   : reader->options.keep_max;
                probe(reader);
        }
}

/* --- the state ------------------------------------------------------------------------------ */

static int by_id(const void *a, const void *b)
{
        return strcmp(((const struct event_state *)a)->event,
                      ((const struct event_state *)b)->event);
}

static enum err take_record(struct state_reader *reader, const char *text, size_t len,
                            struct event_state *ret_state)
{
        struct event event;
        enum err err = event_parse(text, len, &event);

        if (err == OK)
                err = book_put(reader->book, text, len);
        if (err == OK)
                *ret_state = event.state;
        if (err == ERR_INVALID)
                log_error("EVENT-UNREADABLE", "record=%s", log_quote(text));
        return err;
}

/* The records into book and snapshot, and their texts. */
static enum err take_events(struct state_reader *reader, const struct place *place,
                            const struct redis_reply *records, size_t n, struct book_text *texts)
{
        struct event_state *states = calloc(n + 1, sizeof(*states));
        enum err err = states != NULL ? OK : ERR_NOMEM;

        book_clear(reader->book);
        snapshot_unref(reader->snapshot);
        reader->snapshot = NULL;
        for (size_t i = 0; i < n && err == OK; i++) {
                texts[i].text = redis_text(redis_at(records, i), &texts[i].len);
                err = take_record(reader, texts[i].text, texts[i].len, &states[i]);
        }
        if (err == OK && book_count(reader->book) < n)
                err = ERR_INVALID; /* two fields of the hash hold one event */
        if (err == OK && n > 1)
                qsort(states, n, sizeof(states[0]), by_id);
        if (err == OK && place->token.epoch != 0) {
                reader->snapshot = snapshot_create(&place->token, place->parent, states, n);
                err = reader->snapshot != NULL ? OK : ERR_NOMEM;
        }
        free(states);
        return err;
}

static void renew_or_read_on(struct state_reader *reader, const struct place *place, bool lost,
                             const struct book_text *theirs, size_t n_theirs);

static void on_state(void *owner, const struct redis_reply *reply)
{
        struct state_reader *reader = owner;
        struct place place;

        if (!landed(reader) || failed(reader, reply, 0, &place))
                return;

        bool lost = strcmp(redis_text(redis_at(reply, ANSWER_PLACE_MEMBERS), NULL), "1") == 0;
        const struct redis_reply *records = redis_at(reply, ANSWER_PLACE_MEMBERS + 1);
        size_t n = records != NULL ? redis_count(records) : 0;
        struct book_text *texts = calloc(n + 1, sizeof(*texts));
        enum err err = texts != NULL ? take_events(reader, &place, records, n, texts) : ERR_NOMEM;

        if (err == OK)
                renew_or_read_on(reader, &place, lost, texts, n);
        else
                finish(reader, err,
                       err == ERR_NOMEM ? "the node is out of memory"
                                        : "an event in Redis cannot be read by this version");
        free(texts);
}

static void ask_state(struct state_reader *reader)
{
        char meta[KEY_MAX + 1], log[KEY_MAX + 1], events[KEY_MAX + 1];
        struct witness mine;
        const char *const argv[] = { "FCALL_RO", "kickoff1_state", "3",      meta,    log,
                                     events,     mine.epoch,       mine.seq, mine.tag };

        reader->reads++;
        answer_witness(&reader->options.mine, &mine);
        key_format(meta, reader->options.ns, KEY_META, NULL);
        key_format(log, reader->options.ns, KEY_LOG, NULL);
        key_format(events, reader->options.ns, KEY_EVENTS, NULL);
        call(reader, on_state, countof(argv), argv);
}

/* --- renewing ------------------------------------------------------------------------------- */

static void wait_a_part_of(struct state_reader *reader, unsigned span_ms)
{
        uint64_t wait_ms = rng_below(&reader->rng, span_ms);
        const struct timeval wait = { 0, (suseconds_t)(wait_ms * 1000) };

        check(event_add(reader->timer, &wait) == 0);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
        (void)fd;
        (void)what;
        ask_state(arg);
}

static void note_renewed(const struct state_reader *reader, const struct place *place)
{
        if (reader->options.mine.epoch == 0 && reader->from == 0) {
                log_info("LOG-OPENED", "epoch=%016llx", (unsigned long long)place->token.epoch);
                return;
        }
        log_warn(
            "LOG-RENEWED", "from=%016llx to=%016llx records=%zu",
            (unsigned long long)(reader->from != 0 ? reader->from : reader->options.mine.epoch),
            (unsigned long long)place->token.epoch, reader->n_given);
        metric_add(&fanout_metric_log_renewals, 1);
}

static void on_refused(struct state_reader *reader, const char *error)
{
        const bool nothing = reader->options.mine.epoch == 0 && reader->from == 0;
        const char *what =
            nothing ? "there is no log in Redis yet" : "the log in Redis has lost entries";
        const bool may_not = strncmp(error, "NOPERM", 6) == 0;
        char why[320];

        if (may_not &&
            token_generation(reader->from) > token_generation(reader->options.mine.epoch)) {
                reader->intact = reader->from; /* somebody who may has renewed it: that must do */
                ask_state(reader);
                return;
        }
        if (may_not)
                snprintf(
                    why, sizeof(why),
                    "%s, and this node's Redis user may not %s it; waiting for a node that may",
                    what, nothing ? "open" : "renew");
        else
                snprintf(why, sizeof(why), "%s, and a new epoch could not begin: %.160s", what,
                         error);
        finish(reader, ERR_IO, why);
}

static void on_renewed(void *owner, const struct redis_reply *reply)
{
        struct state_reader *reader = owner;
        struct place place;

        if (!landed(reader))
                return;
        if (reply != NULL && answer_is_error(reply) && !answer_lacks_function(reply)) {
                on_refused(reader, redis_text(reply, NULL));
                return;
        }
        if (failed(reader, reply, 1, &place))
                return;

        const char *word = redis_text(redis_at(reply, 0), NULL);

        if (strcmp(word, "renewed") == 0)
                note_renewed(reader, &place);
        else if (strcmp(word, "intact") == 0)
                reader->intact = place.token.epoch;
        reader->is_held = strcmp(word, "held") == 0;
        ask_state(reader);
}

static void note_lost(const struct state_reader *reader, const struct token *there, size_t n_later)
{
        const struct token *mine = &reader->options.mine;

        if (mine->epoch == 0 || *reader->options.lost_said)
                return;
        *reader->options.lost_said = true;
        log_warn("LOG-LOST",
                 "epoch=%016llx seq=%llu there_epoch=%016llx there_seq=%llu missing_records=%zu",
                 (unsigned long long)mine->epoch, (unsigned long long)mine->seq,
                 (unsigned long long)there->epoch, (unsigned long long)there->seq, n_later);
}

static void renew(struct state_reader *reader, uint64_t from, const struct book_record *ours,
                  size_t n)
{
        reader->waited = false;
        reader->from = from;
        reader->n_given = n;
        called(reader, renewal_call(reader->options.redis, reader->options.ns,
                                    &reader->options.mine, from, ours, n, on_renewed, reader));
}

static void renew_or_read_on(struct state_reader *reader, const struct place *place, bool lost,
                             const struct book_text *theirs, size_t n_theirs)
{
        const struct token *mine = &reader->options.mine, *there = &place->token;
        size_t n = book_count(reader->options.book);
        struct book_record *ours = calloc(n + 1, sizeof(*ours));

        if (ours == NULL) {
                finish(reader, ERR_NOMEM, "the node is out of memory");
                return;
        }
        n = book_later_than(reader->options.book, theirs, n_theirs, ours, n);
        if (!renewal_is_needed(mine, place, lost, n) ||
            (there->epoch != 0 && there->epoch == reader->intact)) {
                reader->span = reader->options.keep;
                probe(reader);
        } else if (reader->reads >= RENEWAL_TRIES) {
                finish(reader, ERR_CONFLICT,
                       reader->is_held
                           ? "signals are held back for replicas: nodes with durability "
                             "replicated:N must release them first"
                           : "the log in Redis changes while it is read");
        } else if (reader->waited || (mine->epoch == 0 && there->epoch == 0)) {
                renew(reader, there->epoch, ours, n);
        } else {
                note_lost(reader, there, n);
                reader->waited = true;
                wait_a_part_of(reader, RENEWAL_SPREAD_MS);
        }
        free(ours);
}

enum err state_reader_start(const struct state_reader_options *options, state_reader_fn *done,
                            void *owner, struct state_reader **ret_reader)
{
        struct state_reader *reader = calloc(1, sizeof(*reader));

        check(options->keep > 0);
        if (reader == NULL)
                return ERR_NOMEM;
        reader->options = *options;
        reader->done = done;
        reader->owner = owner;
        rng_seed(&reader->rng, rng_secure_u64());
        reader->timer = evtimer_new(options->base, on_timer, reader);
        if (reader->timer == NULL || book_create(&reader->book) != OK) {
                destroy(reader);
                return ERR_NOMEM;
        }
        /* Also the first time it goes by the timer: nothing is said from inside here. */
        wait_a_part_of(reader, options->mine.epoch != 0 ? STATE_READER_SPREAD_MS : 0);
        *ret_reader = reader;
        return OK;
}
