/* gateway/pump.c -- see the header. Two kinds of frames move a device on: a signal's, and the
 * `skip` that stands for signals which were not for it. Both are the entry's own, shared by all; a
 * skip whose entry has left the ring (its place is known by the next entry's chain) is made for
 * this one device. */
#include "gateway/pump.h"

#include <string.h>

#include "gateway/gateway_metrics.h"
#include "gateway/session_io.h"
#include "gateway/worker_inside.h"

#define FRAMES_PER_TURN 64     /* of one session; then others have theirs */
#define BYTES_PER_TURN  262144 /* the same in bytes */
#define SKIP_SIZE       256    /* a `skip` in any form */
#define PASSING_IS_WORK 16     /* entries passed over: as much as a hundredth of a send */

/* --- frames ---------------------------------------------------------------------------------- */

static struct session_action next(struct worker *worker, struct conn *conn)
{
        return session_next(&conn->session, worker->ring, worker->audiences);
}

static struct blob *reset_frame(struct worker *worker, const struct conn *conn,
                                const struct session_action *action)
{
        check(snapshot_token(worker->snapshot)->seq == action->seq);
        metric_add(&m_resets[action->reason], 1);
        return snapshot_frame(worker->snapshot, action->reason, pump_wire(conn));
}

/* NULL = no memory to make it, for a stream alone. */
static struct blob *entry_frame(struct worker *worker, const struct conn *conn, seqno seq)
{
        struct entry *entry = ring_at(worker->ring, seq);

        check(entry != NULL);
        return entry_signal_frame(entry, pump_wire(conn));
}

static struct token place_at(const struct worker *worker, seqno seq)
{
        const struct token *head = ring_head(worker->ring);
        struct token place = *head;

        if (seq != head->seq) {
                place.seq = seq;
                place.tag = ring_at(worker->ring, seq + 1)->prev_tag;
        }
        return place;
}

/* `own` is where the bytes lie if they are made for this device. False = no memory. */
static bool skip_piece(struct worker *worker, const struct conn *conn, seqno seq,
                       struct piece *piece, char own[SKIP_SIZE])
{
        struct entry *entry = ring_at(worker->ring, seq);
        char array[SKIP_SIZE];
        struct buf payload, out;
        struct token place;
        struct blob *frame;

        metric_add(&m_skips, 1);
        if (entry != NULL && entry->to != NULL) {
                frame = entry_skip_frame(entry, pump_wire(conn));
                if (frame != NULL)
                        *piece = (struct piece){ frame->data, frame->len, frame };
                return frame != NULL;
        }
        place = place_at(worker, seq);
        buf_init_fixed(&payload, array, sizeof(array));
        buf_init_fixed(&out, own, SKIP_SIZE);
        message_encode_skip(&place, (enum encoding)conn->session.encoding, &payload);
        frame_add(&out, pump_wire(conn), &payload, &place);
        check(!out.failed);
        *piece = (struct piece){ out.data, (uint32_t)out.len, NULL };
        return true;
}

static void shed(struct worker *worker, struct conn *conn)
{
        metric_add(&m_no_memory, 1);
        session_io_close(worker, conn, CLOSE_INTERNAL);
}

/* --- what is out ----------------------------------------------------------------------------- */

static void count(struct worker *worker, const struct conn *conn, seqno seq)
{
        tally_written(&worker->tally, seq, conn->session.wants_ack, worker->now_ms);
}

void pump_count(struct worker *worker, const struct conn *conn, unsigned signals)
{
        seqno seq = conn->session.cursor;

        for (; signals > 0; signals--, seq--) {
                seq = session_newest(&conn->session, worker->ring, worker->audiences, seq, 0);
                if (seq == 0)
                        return;
                count(worker, conn, seq);
        }
}

/* Frames that session_next gave out, for one system call. */
struct batch {
        unsigned n;
        struct piece pieces[OUTPUT_PIECES];
        seqno signals[OUTPUT_PIECES];               /* 0: a skip */
        struct session_place places[OUTPUT_PIECES]; /* the session's before that frame */
        char own[SKIP_SIZE]; /* only the first skip's entry can have left the ring */
};

/* False = no memory. */
static bool batch_add(struct worker *worker, struct conn *conn, struct batch *batch,
                      const struct session_action *action, struct session_place before)
{
        struct piece *piece = &batch->pieces[batch->n];

        batch->places[batch->n] = before;
        batch->signals[batch->n] = 0;
        if (action->what == DO_SKIP) {
                if (!skip_piece(worker, conn, action->seq, piece, batch->own))
                        return false;
        } else {
                struct blob *frame = entry_frame(worker, conn, action->seq);

                if (frame == NULL)
                        return false;
                *piece = (struct piece){ frame->data, frame->len, frame };
                batch->signals[batch->n] = action->seq;
        }
        batch->n++;
        return true;
}

/* A signal's frame has begun. If bytes are pending, and it was the last of its call, it is not
 * whole yet. */
static void signal_begun(struct worker *worker, struct conn *conn, seqno seq, bool is_last)
{
        metric_add(&m_signals, 1);
        if (conn->pending != NULL && is_last)
                output_note(conn, 1);
        else
                count(worker, conn, seq);
}

/* `begun` of its frames are out or have begun. */
static void settle(struct worker *worker, struct conn *conn, const struct batch *batch,
                   unsigned begun)
{
        if (begun < batch->n)
                session_rewind(&conn->session, batch->places[begun]);
        for (unsigned i = 0; i < begun; i++)
                if (batch->signals[i] != 0)
                        signal_begun(worker, conn, batch->signals[i], i == begun - 1);
}

/* --- one session ----------------------------------------------------------------------------- */

static enum output send_reset(struct worker *worker, struct conn *conn,
                              const struct session_action *action, size_t *bytes)
{
        struct blob *frame = reset_frame(worker, conn, action);
        struct piece piece;
        unsigned begun;

        if (frame == NULL) {
                shed(worker, conn);
                return OUTPUT_LOST;
        }
        *bytes += frame->len;
        piece = (struct piece){ frame->data, frame->len, frame };
        return output_send(worker, conn, &piece, 1, KEEP_ALL, &begun);
}

/* From `action` on, which is the answer at `before`: as many as there are and one system call
 * takes. */
static enum output send_batch(struct worker *worker, struct conn *conn,
                              struct session_action action, struct session_place before,
                              unsigned *frames, size_t *bytes)
{
        struct batch batch;
        unsigned begun = 0;
        enum output output;

        for (batch.n = 0;;) {
                if (!batch_add(worker, conn, &batch, &action, before)) {
                        shed(worker, conn);
                        return OUTPUT_LOST;
                }
                *bytes += batch.pieces[batch.n - 1].len;
                if (batch.n == OUTPUT_PIECES)
                        break;
                before = session_place(&conn->session);
                action = next(worker, conn);
                if (action.what != DO_ENTRY && action.what != DO_SKIP)
                        break;
        }
        check(action.what == DO_ENTRY || action.what == DO_SKIP || action.what == DO_AGAIN ||
              action.what == DO_NOTHING); /* resets come before entries */
        output = output_send(worker, conn, batch.pieces, batch.n, KEEP_BEGUN, &begun);
        if (output != OUTPUT_LOST)
                settle(worker, conn, &batch, begun);
        *frames += batch.n;
        return output;
}

bool pump_run(struct worker *worker, struct conn *conn)
{
        const seqno from = conn->session.cursor;
        unsigned frames = 0;
        size_t bytes = 0;

        check(conn->pending == NULL);
        while (frames < FRAMES_PER_TURN && bytes < BYTES_PER_TURN) {
                struct session_place before = session_place(&conn->session);
                struct session_action action = next(worker, conn);
                enum output output;

                if (action.what == DO_NOTHING) {
                        conn_want_write(worker, conn, false);
                        return bytes > 0 || conn->session.cursor - from > PASSING_IS_WORK;
                }
                if (action.what == DO_CLOSE) {
                        session_io_close(worker, conn, action.close);
                        return true;
                }
                if (action.what == DO_AGAIN)
                        break;
                if (action.what == DO_RESET)
                        output = send_reset(worker, conn, &action, &bytes);
                else
                        output = send_batch(worker, conn, action, before, &frames, &bytes);
                if (output != OUTPUT_SENT)
                        return true; /* lost, or told when there is room */
        }
        conn_want_write(worker, conn, true); /* the next turn of the loop brings us back */
        return true;
}

int pump_greet(struct worker *worker, struct conn *conn, struct buf *out, struct blob **ret_reset)
{
        int signals = 0;

        *ret_reset = NULL;
        for (;;) {
                struct session_place before = session_place(&conn->session);
                struct session_action action = next(worker, conn);
                struct blob *reset = NULL;
                struct batch one;

                one.n = 0;
                if (action.what == DO_RESET) {
                        reset = reset_frame(worker, conn, &action);
                        if (reset == NULL)
                                return -1;
                        one.pieces[0] = (struct piece){ reset->data, reset->len, reset };
                } else if (action.what != DO_ENTRY && action.what != DO_SKIP) {
                        return signals;
                } else if (!batch_add(worker, conn, &one, &action, before)) {
                        return -1;
                }
                if (one.pieces[0].len < out->capacity - out->len) {
                        buf_add(out, one.pieces[0].at, one.pieces[0].len);
                        signals += action.what == DO_ENTRY;
                        continue;
                }
                if (reset == NULL)
                        session_rewind(&conn->session, before);
                *ret_reset = reset;
                return signals;
        }
}

void pump_add_skip(struct worker *worker, struct conn *conn, struct buf *out)
{
        const struct session_place before = session_place(&conn->session);
        struct piece piece;
        char own[SKIP_SIZE];
        seqno seq;

        if (!session_take_skip(&conn->session, worker->ring, &seq))
                return;
        if (skip_piece(worker, conn, seq, &piece, own))
                buf_add(out, piece.at, piece.len);
        else /* it comes back from a little further behind, and loses nothing */
                session_rewind(&conn->session, before);
}

/* --- broadcast ------------------------------------------------------------------------------- */

void pump_joined_drop(struct pump_joined *joined)
{
        for (unsigned i = 0; i < WIRES; i++)
                blob_unref(joined->frames[i]);
        memset(joined, 0, sizeof(*joined));
}

/* The newest entry's frame behind the skip up to it; borrowed. NULL = no memory. */
static struct blob *joined_frame(struct worker *worker, const struct conn *conn)
{
        const struct token *head = ring_head(worker->ring);
        struct pump_joined *joined = &worker->joined;
        struct blob **frame = &joined->frames[pump_wire(conn)];
        struct buf both = BUF_INIT;
        struct piece skip;
        struct blob *entry;
        char own[SKIP_SIZE];

        if (!token_equal(&joined->token, head)) {
                pump_joined_drop(joined);
                joined->token = *head;
        }
        if (*frame != NULL) {
                metric_add(&m_skips, 1);
                return *frame;
        }
        entry = entry_frame(worker, conn, head->seq);
        if (entry == NULL || !skip_piece(worker, conn, head->seq - 1, &skip, own))
                return NULL;
        buf_add(&both, skip.at, skip.len);
        buf_add(&both, entry->data, entry->len);
        if (!both.failed)
                *frame = blob_create(both.data, both.len);
        buf_fini(&both);
        return *frame;
}

enum err pump_take_newest(struct worker *worker, struct conn *conn, struct blob **ret_frame)
{
        struct session_place before = session_place(&conn->session);
        struct session_action action = next(worker, conn);
        struct blob *frame;

        if (action.what == DO_NOTHING) {
                *ret_frame = NULL;
                return OK;
        }
        if (action.what == DO_SKIP) {
                action = next(worker, conn);
                frame = joined_frame(worker, conn);
        } else {
                frame = entry_frame(worker, conn, action.seq);
        }
        check(action.what == DO_ENTRY && action.seq == ring_head(worker->ring)->seq);
        if (frame == NULL) {
                session_rewind(&conn->session, before);
                return ERR_NOMEM;
        }
        *ret_frame = frame;
        return OK;
}

void pump_settle_newest(struct worker *worker, struct conn *conn, uint32_t len, ssize_t result)
{
        const seqno seq = conn->session.cursor; /* pump_take_newest has moved it here */
        struct blob *frame = entry_frame(worker, conn, seq);
        const bool is_joined = frame->len != len;
        struct piece piece;
        unsigned begun;

        if (is_joined)
                frame = worker->joined.frames[pump_wire(conn)];
        piece = (struct piece){ frame->data, frame->len, frame };
        if (output_judge(worker, conn, &piece, 1, KEEP_BEGUN, result, &begun) == OUTPUT_LOST)
                return;
        if (begun > 0)
                signal_begun(worker, conn, seq, true);
        else
                session_rewind(&conn->session, (struct session_place){ seq - 1, is_joined, false });
}
