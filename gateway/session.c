/* gateway/session.c -- decides what a session is sent next and when it goes. Knows the ring, the
 * token and the clock it is told; refuses to know sockets, frames and who else is connected.
 *
 * The cursor is the whole delivery state. Two things may void it: the ring dropped the entry that
 * comes next (overflow), or the log turned out to be another one (rejudge). Both end in DO_RESET,
 * which puts the cursor at the head; so no path leads past an entry that is for the session without
 * either its frame or a reset. */
#include "gateway/session.h"

#include "base/check.h"

_Static_assert(sizeof(struct session) == 48, "the account of memory in DESIGN.md says so");
_Static_assert(LIFETIME_LEAVING_MS == SESSION_RECYCLE_MS + SESSION_LEAVE_WAIT_MS,
               "who is told before a window has left when it begins");

#define HELD_ALL       255  /* session.held: a whole lifetime */
#define ACKS_LOOK_BACK 64   /* as many as the delivery report counts for (tally.h) */
#define PASS_MAX       1024 /* entries passed over at once: some 20 us */

static const enum close_reason close_after[GOAWAY_REASONS] = {
        [GOAWAY_RECYCLE] = CLOSE_GOING,
        [GOAWAY_DRAIN] = CLOSE_DRAIN,
        [GOAWAY_OVERLOAD] = CLOSE_OVERLOAD,
        [GOAWAY_REPLACED] = CLOSE_REPLACED,
};

/* A 32-bit clock wraps after 49 days; no deadline is half of that away. */
static bool has_come(uint32_t when_ms, uint32_t now_ms)
{
        return (int32_t)(now_ms - when_ms) >= 0;
}

static struct session_action nothing(void)
{
        return (struct session_action){ .what = DO_NOTHING };
}

static struct session_action close_for(struct session *session, enum close_reason reason)
{
        session->state = SESSION_CLOSED;
        return (struct session_action){ .what = DO_CLOSE, .close = reason };
}

/* --- joining ---------------------------------------------------------------------------------- */

/* It waits no more: what had its token has its cursor now. */
static void take_place(struct session *session, seqno place)
{
        session->state = SESSION_LIVE;
        session->has_place = true;
        session->cursor = session->acked = place;
}

static struct session_action join_with_reset(struct session *session, enum reset_reason reason)
{
        take_place(session, 0); /* void until the reset */
        session->pending_reset = (1u + reason) & 7;
        return (struct session_action){ .what = DO_HELLO, .recovered = false, .reason = reason };
}

/* Contract lines 5 to 7 in one place: what a token is worth here and now. */
static struct session_action join_by_token(struct session *session, const struct ring *ring,
                                           const struct token *since, bool confirmed)
{
        switch (ring_judge(ring, since)) {
        case RING_KEPT:
                take_place(session, since->seq); /* who resumes after it has acknowledged it */
                session->owes_place = since->seq > 0;
                session->is_replaying = true;
                return (struct session_action){ .what = DO_HELLO, .recovered = true };
        case RING_TRIMMED:
                return join_with_reset(session, RESET_TRIMMED);
        case RING_FORKED:
                return join_with_reset(session, RESET_FORKED);
        case RING_UNKNOWN:
                return join_with_reset(session, RESET_UNKNOWN);
        case RING_AHEAD:
                break;
        }
        /* Beyond our head: either this node is behind, or the log lost what the device has seen.
         * Only a head asked for after the device came can tell the two apart. */
        if (confirmed)
                return join_with_reset(
                    session, since->epoch == ring_head(ring)->epoch ? RESET_FORKED : RESET_UNKNOWN);
        session->state = SESSION_WAITING;
        session->waiting = *since;
        return nothing();
}

/* A herd that came at once must neither be pinged at once nor leave at once: the first ping comes
 * somewhere within the first interval, the end within the last tenth of the lifetime. */
static void spread_timers(struct session *session, const struct session_config *config,
                          uint32_t now_ms, uint64_t jitter)
{
        uint64_t low = jitter & UINT32_MAX, high = jitter >> 32;
        uint32_t tenth = config->lifetime_ms / SESSION_END_SPREAD;

        session->next_ping_ms = now_ms + 1 + (uint32_t)(low * config->ping_ms >> 32);
        session->ends_ms = now_ms + config->lifetime_ms - (uint32_t)(high * tenth >> 32);
        session->bucket_ms = now_ms;
        session->bucket = SESSION_BURST;
}

/* The nearest of next ping, pong deadline and end of lifetime. */
static void set_due(struct session *session, const struct session_config *config, uint32_t now_ms)
{
        uint32_t away = SESSION_SPAN_MAX_MS;

        if (config->ping_ms != 0 && !has_come(session->next_ping_ms, now_ms))
                away = session->next_ping_ms - now_ms;
        if (session->pinged) {
                uint32_t pong_by = session->next_ping_ms - config->ping_ms + SESSION_PONG_WAIT_MS;

                if (has_come(pong_by, now_ms))
                        away = 0;
                else if (pong_by - now_ms < away)
                        away = pong_by - now_ms;
        }
        if (config->lifetime_ms != 0) {
                if (has_come(session->ends_ms, now_ms))
                        away = 0;
                else if (session->ends_ms - now_ms < away)
                        away = session->ends_ms - now_ms;
        }
        session->due_ms = now_ms + away;
}

struct session_action session_join(struct session *session, const struct session_config *config,
                                   const struct ring *ring, const struct token *since,
                                   bool malformed, uint32_t now_ms, uint64_t jitter)
{
        struct session_action action;

        check(session->state == SESSION_JOINING);
        check(ring_head(ring)->epoch != 0); /* before the first install nobody is let in */
        check(config->ping_ms <= SESSION_SPAN_MAX_MS && config->lifetime_ms <= SESSION_SPAN_MAX_MS);

        spread_timers(session, config, now_ms, jitter);
        if (malformed)
                action = join_with_reset(session, RESET_UNKNOWN);
        else if (since == NULL)
                action = join_with_reset(session, RESET_NEW);
        else
                action = join_by_token(session, ring, since, false);
        if (session->state == SESSION_WAITING)
                session->due_ms = now_ms + SESSION_AHEAD_WAIT_MS;
        else
                set_due(session, config, now_ms);
        return action;
}

struct session_action session_retry(struct session *session, const struct ring *ring,
                                    bool confirmed)
{
        struct token since = session->waiting;
        struct session_action action;

        if (session->state != SESSION_WAITING)
                return nothing();
        action = join_by_token(session, ring, &since, confirmed);
        if (action.what == DO_HELLO) /* the wait is over; session_timer sorts the rest from here */
                session->due_ms = session->next_ping_ms;
        return action;
}

/* --- the one question ------------------------------------------------------------------------ */

/* A session that leaves while it WAITS never gets a place. */
static bool has_joined(const struct session *session)
{
        return session->has_place && session->state != SESSION_CLOSED;
}

static struct session_action reset_to_head(struct session *session, const struct ring *ring,
                                           enum reset_reason reason)
{
        seqno head = ring_head(ring)->seq;

        session->pending_reset = 0;
        session->cursor = head;
        session->acked = head; /* nothing up to here was sent as a signal */
        session->owes_place = session->owes_skip = session->is_replaying = false;
        return (struct session_action){ .what = DO_RESET, .seq = head, .reason = reason };
}

static struct session_action skip(struct session *session)
{
        session->owes_skip = false;
        return (struct session_action){ .what = DO_SKIP, .seq = session->cursor };
}

/* Passes over what is not for it. */
static struct session_action next_entry(struct session *session, const struct ring *ring,
                                        struct audiences *audiences, seqno head)
{
        for (unsigned passed = 0; session->cursor < head; passed++) {
                const struct entry *entry = ring_at(ring, session->cursor + 1);

                if (audiences_meant(audiences, session->audience, entry)) {
                        if (session->owes_skip) /* asked again, it is the entry's turn */
                                return skip(session);
                        session->cursor++;
                        return (struct session_action){ .what = DO_ENTRY, .seq = session->cursor };
                }
                if (passed == PASS_MAX)
                        return (struct session_action){ .what = DO_AGAIN };
                session->cursor++;
                session->owes_skip = true;
        }
        return nothing();
}

struct session_action session_next(struct session *session, const struct ring *ring,
                                   struct audiences *audiences)
{
        seqno head = ring_head(ring)->seq;
        struct session_action action;

        if (!has_joined(session))
                return nothing();
        if (session->pending_reset != 0)
                return reset_to_head(session, ring,
                                     (enum reset_reason)(session->pending_reset - 1));
        if (session->cursor == head && !session->is_replaying)
                return nothing();
        check(session->cursor <= head); /* a ring that steps back is re-installed, and rejudged */
        if (session->cursor < ring_oldest_cursor(ring)) {
                /* Contract line 11: the first time it may have been the network's fault. */
                if (session->overflows > 0)
                        return close_for(session, CLOSE_TOO_SLOW);
                session->overflows = 1;
                return reset_to_head(session, ring, RESET_TRIMMED);
        }
        if (session->cursor < head && !session->owes_skip &&
            ring_at(ring, session->cursor + 1)->to == NULL) { /* as nearly always */
                session->cursor++;
                return (struct session_action){ .what = DO_ENTRY, .seq = session->cursor };
        }
        action = next_entry(session, ring, audiences, head);
        if (action.what == DO_NOTHING && session->is_replaying) {
                session->is_replaying = false;
                if (session->owes_skip)
                        return skip(session);
        }
        return action;
}

bool session_take_skip(struct session *session, const struct ring *ring, seqno *ret_seq)
{
        if (!session->owes_skip || session->pending_reset != 0 ||
            session->cursor < ring_oldest_cursor(ring))
                return false;
        *ret_seq = skip(session).seq;
        return true;
}

void session_rewind(struct session *session, struct session_place place)
{
        check(place.cursor <= session->cursor);
        session->cursor = place.cursor;
        session->owes_skip = place.owes_skip;
        session->is_replaying = place.is_replaying;
}

seqno session_newest(const struct session *session, const struct ring *ring,
                     struct audiences *audiences, seqno from, seqno floor)
{
        for (; from > floor; from--) {
                const struct entry *entry = ring_at(ring, from);

                /* What has left the ring is judged no more. */
                if (entry == NULL || audiences_meant(audiences, session->audience, entry))
                        break;
        }
        return from;
}

/* The tag at the session's place in `ring`. False if the place has left the ring. */
static bool tag_at(const struct ring *ring, seqno cursor, uint64_t *ret_tag)
{
        if (cursor == ring_head(ring)->seq) {
                *ret_tag = ring_head(ring)->tag;
                return true;
        }

        /* The next entry names the tag before it: that also knows the place before the oldest. */
        const struct entry *next = ring_at(ring, cursor + 1);

        if (next == NULL)
                return false;
        *ret_tag = next->prev_tag;
        return true;
}

void session_rejudge(struct session *session, const struct ring *before, const struct ring *after)
{
        struct token place = { .epoch = ring_head(before)->epoch, .seq = session->cursor };
        enum reset_reason reason = RESET_TRIMMED;

        if (!has_joined(session))
                return; /* WAITING is judged by its token when it is retried */
        if (session->pending_reset != 0)
                return; /* the cursor is void already */
        if (tag_at(before, session->cursor, &place.tag)) {
                switch (ring_judge(after, &place)) {
                case RING_KEPT:
                        return;
                case RING_TRIMMED:
                        break;
                case RING_UNKNOWN:
                        reason = RESET_UNKNOWN;
                        break;
                case RING_FORKED:
                        reason = RESET_FORKED;
                        break;
                case RING_AHEAD: /* an install is the log's own word: what it lacks is gone */
                        reason =
                            place.epoch == ring_head(after)->epoch ? RESET_FORKED : RESET_UNKNOWN;
                        break;
                }
        }
        session->pending_reset = (1u + reason) & 7;
}

/* --- what the device says -------------------------------------------------------------------- */

static bool take_from_bucket(struct session *session, uint32_t now_ms)
{
        const uint32_t ms_each = 1000 / SESSION_MESSAGES_PER_S;
        uint32_t filled = (now_ms - session->bucket_ms) / ms_each;

        if (filled >= (uint32_t)(SESSION_BURST - session->bucket)) {
                session->bucket = SESSION_BURST;
                session->bucket_ms = now_ms;
        } else {
                session->bucket = (uint8_t)(session->bucket + filled);
                session->bucket_ms += filled * ms_each;
        }
        if (session->bucket == 0)
                return false;
        session->bucket--;
        return true;
}

struct session_action session_noise(struct session *session, uint32_t now_ms)
{
        if (session->state == SESSION_CLOSED)
                return nothing();
        if (!take_from_bucket(session, now_ms))
                return close_for(session, CLOSE_POLICY);
        return nothing();
}

static struct session_action take_ack(struct session *session, seqno seq, const struct ring *ring,
                                      struct audiences *audiences)
{
        seqno from = session->acked;

        /* Numbers of a history that a reset is about to take back, or that was never sent here,
         * tell nothing; they may be in flight while a fork is noticed, so they are no offence. */
        if (!session->has_place || session->pending_reset != 0 || seq > session->cursor ||
            seq > ring_head(ring)->seq)
                return nothing();
        if (session->owes_place && seq <= from) {
                /* Its place may be one that a skip led it to, past what it has to acknowledge. */
                seqno floor = from > ACKS_LOOK_BACK ? from - ACKS_LOOK_BACK : 0;
                seqno place = session_newest(session, ring, audiences, from, floor);

                if (seq < place || place == floor)
                        return nothing();
                from = place - 1;
                seq = place;
        }
        if (seq <= from)
                return nothing();
        session->owes_place = false;
        if (seq > session->acked)
                session->acked = seq;
        return (struct session_action){ .what = DO_ACKED, .acked_from = from, .seq = seq };
}

struct session_action session_message(struct session *session, const struct message *message,
                                      const struct ring *ring, struct audiences *audiences,
                                      uint32_t now_ms)
{
        struct session_action action = session_noise(session, now_ms);

        if (action.what != DO_NOTHING || session->state == SESSION_CLOSED)
                return action;
        switch (message->type) {
        case MESSAGE_ACK:
                return take_ack(session, message->ack.seq, ring, audiences);
        case MESSAGE_TIME:
                if (message->time.has_t1) /* that is an answer, and we did not ask */
                        break;
                return (struct session_action){ .what = DO_TIME, .t0 = message->time.t0 };
        case MESSAGE_HELLO:
        case MESSAGE_SIGNAL:
        case MESSAGE_RESET:
        case MESSAGE_GOAWAY:
        case MESSAGE_MESSAGE:
        case MESSAGE_SKIP:
        case MESSAGE_TYPES:
                break;
        }
        return close_for(session, CLOSE_BAD_DATA); /* only nodes send these */
}

void session_pong(struct session *session)
{
        session->pinged = false;
}

/* --- time ------------------------------------------------------------------------------------ */

static struct session_action leave(struct session *session, const struct goaway *goaway,
                                   uint32_t now_ms)
{
        if (!session->has_place)
                session->waiting = (struct token){ .epoch = 0 }; /* it waits no more */
        session->state = SESSION_LEAVING;
        session->leaving = goaway->reason & 7;
        session->due_ms = now_ms + goaway->max_ms + SESSION_LEAVE_WAIT_MS;
        return (struct session_action){ .what = DO_GOAWAY, .goaway = *goaway };
}

/* The end has come. True: but not now, for a start is near; its next moment is set. The two random
 * moments that a session has anyway are the seed: no generator on this path. */
static bool hold(struct session *session, const struct session_config *config, uint32_t now_ms)
{
        uint64_t lifetime_ms = config->lifetime_ms;
        uint64_t seed = (uint64_t)session->ends_ms << 32 | session->next_ping_ms;
        uint32_t left_ms = (uint32_t)(lifetime_ms * (HELD_ALL - session->held) / HELD_ALL), by_ms;

        if (config->lifetime == NULL)
                return false;
        by_ms = lifetime_postpone(config->lifetime, now_ms,
                                  config->lifetime_ms / SESSION_END_SPREAD, left_ms, seed);
        if (by_ms == 0)
                return false;
        session->held =
            (uint8_t)(session->held + (by_ms * (uint64_t)HELD_ALL + lifetime_ms - 1) / lifetime_ms);
        session->ends_ms = now_ms + by_ms;
        return true;
}

static struct session_action live_timer(struct session *session,
                                        const struct session_config *config, uint32_t now_ms)
{
        struct session_action action = nothing();

        if (config->lifetime_ms != 0 && has_come(session->ends_ms, now_ms) &&
            !hold(session, config, now_ms)) {
                const struct goaway goaway = { .reason = GOAWAY_RECYCLE,
                                               .max_ms = SESSION_RECYCLE_MS };

                return leave(session, &goaway, now_ms);
        }
        if (session->pinged) {
                uint32_t pong_by = session->next_ping_ms - config->ping_ms + SESSION_PONG_WAIT_MS;

                if (has_come(pong_by, now_ms))
                        return close_for(session, CLOSE_IDLE);
        } else if (config->ping_ms != 0 && has_come(session->next_ping_ms, now_ms)) {
                session->pinged = true;
                session->next_ping_ms = now_ms + config->ping_ms;
                action.what = DO_PING;
        }
        set_due(session, config, now_ms);
        return action;
}

struct session_action session_timer(struct session *session, const struct session_config *config,
                                    uint32_t now_ms)
{
        const struct goaway overload = { .reason = GOAWAY_OVERLOAD, .max_ms = SESSION_OVERLOAD_MS };

        switch ((enum session_state)session->state) {
        case SESSION_WAITING:
                if (!has_come(session->due_ms, now_ms))
                        return nothing();
                /* This node cannot tell what the log holds; another may. */
                return leave(session, &overload, now_ms);
        case SESSION_LIVE:
                return live_timer(session, config, now_ms);
        case SESSION_LEAVING:
                if (!has_come(session->due_ms, now_ms))
                        return nothing();
                return close_for(session, close_after[session->leaving]);
        case SESSION_JOINING:
        case SESSION_CLOSED:
                break;
        }
        return nothing();
}

struct session_action session_leave(struct session *session, const struct goaway *goaway,
                                    uint32_t now_ms)
{
        check(goaway->reason < GOAWAY_REASONS && goaway->max_ms <= SESSION_SPAN_MAX_MS);
        if (session->state != SESSION_LIVE && session->state != SESSION_WAITING)
                return nothing();
        return leave(session, goaway, now_ms);
}
