/* gateway/output.c -- decides where bytes wait that do not fit. Knows pieces and sockets; refuses
 * to know what the bytes say and whose turn it is. */
#include "gateway/output.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "gateway/gateway_metrics.h"
#include "gateway/worker_inside.h"

struct pending { /* a short queue; items[0] goes first */
        unsigned n;
        unsigned entries; /* signals whose frames are not whole before all of this is out */
        struct {
                struct blob *blob; /* a reference */
                uint32_t at;       /* bytes of it that are out */
        } items[PENDING_MAX];
};

_Static_assert(sizeof(struct pending) == 136, "DESIGN.md: what a blocked session holds");

/* Bytes sent, or -errno. */
static ssize_t send_pieces(struct conn *conn, const struct piece *pieces, unsigned n)
{
        struct iovec iov[OUTPUT_PIECES];
        struct msghdr message = { .msg_iov = iov, .msg_iovlen = n };
        ssize_t sent;

        do {
                if (n == 1) {
                        sent = send(conn->fd, pieces[0].at, pieces[0].len,
                                    MSG_DONTWAIT | MSG_NOSIGNAL);
                        continue;
                }
                check(n <= OUTPUT_PIECES);
                for (unsigned i = 0; i < n; i++)
                        iov[i] = (struct iovec){ (void *)(uintptr_t)pieces[i].at, pieces[i].len };
                sent = sendmsg(conn->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        } while (sent < 0 && errno == EINTR);
        return sent < 0 ? -errno : sent;
}

/* Bytes sent, 0 if the socket is full, -errno if it is lost. */
static ssize_t taken(ssize_t result)
{
        switch (result) {
        case -EAGAIN:
        case -ENOBUFS: /* the kernel is short of memory: try again when writable */
        case -ENOMEM:
        case -EINTR: /* io_uring's, where nothing was begun */
                return 0;
        default:
                if (result < 0)
                        return result;
                metric_add(&m_bytes, result);
                return result;
        }
}

static bool keep(struct conn *conn, const struct piece *piece, uint32_t sent)
{
        struct pending *pending = conn->pending;
        struct blob *blob;

        if (pending == NULL) {
                pending = malloc(sizeof(*pending));
                if (pending == NULL)
                        return false;
                pending->n = pending->entries = 0;
                conn->pending = pending;
        }
        check(pending->n < PENDING_MAX);
        if (piece->blob != NULL) {
                blob = blob_ref(piece->blob);
                sent += (uint32_t)((const uint8_t *)piece->at - blob->data);
        } else {
                blob = blob_create((const uint8_t *)piece->at + sent, piece->len - sent);
                sent = 0;
        }
        if (blob == NULL)
                return false;
        pending->items[pending->n].blob = blob;
        pending->items[pending->n++].at = sent;
        return true;
}

static enum output lose(struct worker *worker, struct conn *conn, ssize_t result)
{
        conn_lost(worker, conn, (int)-result);
        return OUTPUT_LOST;
}

static enum output shed(struct worker *worker, struct conn *conn)
{
        metric_add(&m_no_memory, 1);
        conn_close(worker, conn);
        return OUTPUT_LOST;
}

/* `sent` bytes of the pieces are out, not all: what has begun, or with KEEP_ALL what is left,
 * waits. */
static enum output hold(struct worker *worker, struct conn *conn, const struct piece *pieces,
                        unsigned n, enum output_keep how, size_t sent, unsigned *ret_begun)
{
        unsigned i = 0, waiting = conn->pending != NULL ? conn->pending->n : 0;
        unsigned begun, end;

        for (; sent >= pieces[i].len; i++)
                sent -= pieces[i].len;
        /* pieces[i] is out but for `sent` bytes of it; those after it have not begun. */
        begun = sent > 0 ? i + 1 : i;
        end = how == KEEP_ALL ? n : begun;
        if (waiting + (end - i) > PENDING_MAX) {
                check(waiting > 0); /* whoever sends more at once than may wait, made the mistake */
                return OUTPUT_FULL;
        }
        for (; i < end; i++, sent = 0)
                if (!keep(conn, &pieces[i], (uint32_t)sent))
                        return shed(worker, conn);
        *ret_begun = begun;
        conn_want_write(worker, conn, true);
        return OUTPUT_BLOCKED;
}

enum output output_judge(struct worker *worker, struct conn *conn, const struct piece *pieces,
                         unsigned n, enum output_keep how, ssize_t result, unsigned *ret_begun)
{
        ssize_t sent = taken(result);
        size_t len = 0;

        if (sent < 0)
                return lose(worker, conn, sent);
        for (unsigned i = 0; i < n; i++)
                len += pieces[i].len;
        if ((size_t)sent < len) {
                check(conn->pending == NULL);
                return hold(worker, conn, pieces, n, how, (size_t)sent, ret_begun);
        }
        *ret_begun = n;
        return OUTPUT_SENT;
}

enum output output_send(struct worker *worker, struct conn *conn, const struct piece *pieces,
                        unsigned n, enum output_keep how, unsigned *ret_begun)
{
        if (conn->pending == NULL)
                return output_judge(worker, conn, pieces, n, how, send_pieces(conn, pieces, n),
                                    ret_begun);
        return hold(worker, conn, pieces, n, how, 0, ret_begun);
}

enum output output_flush(struct worker *worker, struct conn *conn)
{
        struct pending *pending = conn->pending;
        struct piece pieces[PENDING_MAX];
        unsigned i = 0;
        ssize_t sent;

        if (pending == NULL)
                return OUTPUT_SENT;
        for (unsigned k = 0; k < pending->n; k++) {
                struct blob *blob = pending->items[k].blob;

                pieces[k] = (struct piece){ blob->data + pending->items[k].at,
                                            blob->len - pending->items[k].at, blob };
        }
        sent = taken(send_pieces(conn, pieces, pending->n));
        if (sent < 0)
                return lose(worker, conn, sent);
        for (size_t left = (size_t)sent; left > 0; i++) {
                if (left < pieces[i].len) {
                        pending->items[i].at += (uint32_t)left;
                        break;
                }
                left -= pieces[i].len;
                blob_unref(pending->items[i].blob);
                pending->items[i].blob = NULL;
        }
        if (i == pending->n) {
                free(pending);
                conn->pending = NULL;
                return OUTPUT_SENT;
        }
        for (unsigned k = i; k < pending->n; k++)
                pending->items[k - i] = pending->items[k];
        pending->n -= i;
        return OUTPUT_BLOCKED;
}

void output_drop(struct conn *conn)
{
        if (conn->pending == NULL)
                return;
        for (unsigned i = 0; i < conn->pending->n; i++)
                blob_unref(conn->pending->items[i].blob);
        free(conn->pending);
        conn->pending = NULL;
}

void output_note(struct conn *conn, unsigned entries)
{
        check(conn->pending != NULL);
        conn->pending->entries += entries;
}

unsigned output_noted(const struct conn *conn)
{
        return conn->pending != NULL ? conn->pending->entries : 0;
}

unsigned output_waiting(const struct conn *conn)
{
        return conn->pending != NULL ? conn->pending->n : 0;
}
