/* gateway/conn.c -- keeps each connection in exactly one phase, on at most one timer, and in
 * conns[] exactly while it is a session. */
#include "gateway/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/gateway_metrics.h"
#include "gateway/output.h"
#include "gateway/worker_inside.h"

_Static_assert(sizeof(struct admission_guest) <= sizeof(struct session),
               "standing in line is free");
_Static_assert((EPOLLIN | EPOLLOUT | EPOLLRDHUP) <= UINT16_MAX, "conn.watched holds them");
_Static_assert(
    sizeof(struct conn) + sizeof(struct block) + 2 * 16 <= 8192,
    "contract line 11: what a peer that has not been let in can make us hold, with malloc's headers");
_Static_assert(sizeof(struct conn) == 120, "DESIGN.md has it field by field");

#define CONNS_FIRST 1024

struct conn *conn_create(struct worker *worker, int fd)
{
        struct conn *conn = calloc(1, sizeof(*conn));

        if (conn == NULL)
                return NULL;
        conn->fd = fd;
        conn->phase = CONN_HEAD;
        worker->in_phase[CONN_HEAD]++;
        return conn;
}

void conn_set_phase(struct worker *worker, struct conn *conn, enum conn_phase phase)
{
        if (conn->phase == CONN_HEAD)
                admission_leave(&worker->admission, &conn->place);
        worker->in_phase[conn->phase]--;
        worker->in_phase[phase]++;
        conn->phase = (uint8_t)phase;
}

void conn_set_timer(struct worker *worker, struct conn *conn, uint64_t in_ms)
{
        wheel_start(&worker->wheel, &conn->timer, worker->now_ms + in_ms);
}

/* --- watching -------------------------------------------------------------------------------- */

bool conn_watch(struct worker *worker, struct conn *conn, bool reads)
{
        uint32_t what = (reads ? EPOLLIN | EPOLLRDHUP : 0) | (conn->wants_write ? EPOLLOUT : 0);

        if (what == 0)
                what = EPOLLRDHUP; /* LOADING: of interest is only whether the peer gives up */
        if (what == conn->watched)
                return true;
        if (conn->watched != 0) {
                poller_change(worker->poller, conn->fd, conn, what);
        } else if (poller_add(worker->poller, conn->fd, conn, what) != OK) {
                metric_add(&m_no_memory, 1);
                conn_close(worker, conn);
                return false;
        }
        conn->watched = (uint16_t)what;
        return true;
}

void conn_want_write(struct worker *worker, struct conn *conn, bool wants)
{
        if (conn->wants_write == wants)
                return;
        conn->wants_write = wants;
        metric_add(&m_blocked, wants ? 1 : -1);
        if (conn->watched != 0) /* else it is about to be watched for the first time */
                conn_watch(worker, conn, (conn->watched & EPOLLIN) != 0);
}

/* --- being a session ------------------------------------------------------------------------- */

static void tell_devices(struct worker *worker)
{
        atomic_store_explicit(&worker->devices, worker->n_conns, memory_order_relaxed);
        metric_set(&m_devices, worker->n_conns);
}

bool conn_enter(struct worker *worker, struct conn *conn, struct conn_name *name)
{
        const uint64_t address = conn->place.key;
        uint32_t slot = worker->n_conns;

        if (worker->n_conns == worker->conns_size) {
                uint32_t size = worker->conns_size > 0 ? worker->conns_size * 2 : CONNS_FIRST;
                struct conn **conns = realloc(worker->conns, size * sizeof(conns[0]));

                if (conns == NULL)
                        return false;
                worker->conns = conns;
                worker->conns_size = size;
        }
        name->since_ms = worker_now(worker);
        name->hash = roster_hash(&worker->roster, name->device);
        if (worker->options.one_per_device && !roster_add(&worker->roster, name->hash, slot))
                return false;
        conn_set_phase(worker, conn, CONN_SESSION); /* out of the line */
        memset(&conn->session, 0, sizeof(conn->session));
        conn->address = address;
        conn->name = name;
        conn->slot = slot;
        worker->conns[worker->n_conns++] = conn;
        tell_devices(worker);
        return true;
}

/* The session at `from` moves into the place that has become free. */
static void fill(struct worker *worker, uint32_t hole, uint32_t from)
{
        struct conn *conn = worker->conns[from];

        if (hole == from)
                return;
        if (worker->options.one_per_device)
                roster_move(&worker->roster, conn->name->hash, from, hole);
        worker->conns[hole] = conn;
        conn->slot = hole;
        broadcast_moved(worker, hole, from);
}

void conn_leave(struct worker *worker, struct conn *conn, enum close_reason reason)
{
        uint32_t hole = conn->slot;

        check(conn->phase == CONN_SESSION && worker->conns[conn->slot] == conn);
        conn->session.state = SESSION_CLOSED;
        audiences_leave(worker->audiences, conn->session.audience);
        admission_exit(&worker->admission, conn->address);
        conn_set_phase(worker, conn, CONN_FINISHING);
        if (worker->options.one_per_device)
                roster_remove(&worker->roster, conn->name->hash, hole);
        worker->n_conns--;
        if (worker_devices_goes(worker, conn, reason)) { /* the known ones stay together */
                fill(worker, hole, worker->devices_roll.n_known);
                hole = worker->devices_roll.n_known;
        }
        fill(worker, hole, worker->n_conns);
        tell_devices(worker);
        metric_add(&m_sessions[conn->session.is_stream], -1);
        metric_add(&m_closes[reason], 1);
        log_debug("SESSION-CLOSED", "device=%s session=%016llx reason=%s", conn->name->device,
                  (unsigned long long)conn->name->session, close_table[reason].name);
}

/* --- ending ---------------------------------------------------------------------------------- */

void conn_finish(struct worker *worker, struct conn *conn)
{
        pool_give(&worker->pool, conn->block);
        conn->block = NULL;
        conn_set_phase(worker, conn, CONN_FINISHING);
        conn_set_timer(worker, conn, CONN_LINGER_MS);
        if (conn->pending == NULL)
                conn_drained(worker, conn);
        else
                conn_watch(worker, conn, false);
}

/* Closing a socket while bytes wait in it to be read would make the kernel send a reset, which can
 * overtake our last bytes (RFC 9112 9.6). So: shut our side, read on, close when the peer has. */
void conn_drained(struct worker *worker, struct conn *conn)
{
        check(conn->phase == CONN_FINISHING);
        if (shutdown(conn->fd, SHUT_WR) != 0) {
                conn_close(worker, conn);
                return;
        }
        conn_set_phase(worker, conn, CONN_LINGERING);
        conn_want_write(worker, conn, false);
        conn_watch(worker, conn, true);
}

void conn_discard(struct worker *worker, struct conn *conn)
{
        if (recv(conn->fd, worker->recv, sizeof(worker->recv), MSG_DONTWAIT) <= 0)
                conn_close(worker, conn);
}

void conn_close(struct worker *worker, struct conn *conn)
{
        if (conn->phase == CONN_DEAD)
                return;
        if (conn->phase == CONN_SESSION)
                conn_leave(worker, conn, CLOSE_GONE);
        else if (conn->phase == CONN_LOADING)
                cache_forget(worker->cache, conn);
        wheel_stop(&worker->wheel, &conn->timer);
        if (conn->wants_write)
                metric_add(&m_blocked, -1);
        output_drop(conn);
        pool_give(&worker->pool, conn->block);
        conn->block = NULL;
        close(conn->fd);
        conn_set_phase(worker, conn, CONN_DEAD);
        conn->next_dead = worker->dead;
        worker->dead = conn;
}

void conn_lost(struct worker *worker, struct conn *conn, int error)
{
        if (conn->phase == CONN_SESSION && conn->wants_write && error == ETIMEDOUT)
                conn_leave(worker, conn, CLOSE_TOO_SLOW);
        conn_close(worker, conn);
}

void conn_reap(struct worker *worker)
{
        while (worker->dead != NULL) {
                struct conn *conn = worker->dead;

                worker->dead = conn->next_dead;
                worker->in_phase[CONN_DEAD]--;
                free(conn->name);
                free(conn);
        }
}
