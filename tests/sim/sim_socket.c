/* tests/sim/sim_socket.c -- output.c once more, in frames instead of bytes: a frame of which a part
 * is out counts as begun, and waits in `pending`. */
#include "tests/sim/sim_conn.h"
#include "tests/sim/sim_device.h"

void sim_conn_drop(struct frame *frame)
{
        entry_unref(frame->entry);
        snapshot_unref(frame->snapshot);
}

void sim_socket_want_write(struct world *world, struct sim_conn *conn, bool wants)
{
        conn->wants_write = wants;
        if (wants && conn->n_queue < conn->size)
                world_in(world, 1, sim_conn_on_writable, conn, 0);
}

static bool put(struct world *world, struct sim_conn *conn, const struct frame *frame)
{
        if (conn->n_queue == conn->size)
                return false;
        conn->queue[(conn->first + conn->n_queue++) % SOCKET_MAX] = *frame;
        sim_device_wake(world, conn);
        return true;
}

bool sim_conn_take(struct world *world, struct sim_conn *conn, struct frame *ret_frame)
{
        if (conn->n_queue == 0)
                return false;
        *ret_frame = conn->queue[conn->first];
        conn->first = (conn->first + 1) % SOCKET_MAX;
        conn->n_queue--;
        if (conn->at_node && conn->wants_write)
                world_in(world, 0, sim_conn_on_writable, conn, 0);
        return true;
}

/* --- output.c ------------------------------------------------------------------------------- */

void sim_socket_lose(struct world *world, struct sim_conn *conn)
{
        sim_conn_gone(world, conn);
        sim_device_lost(world, conn);
}

/* Takes the frames' references, but for those of frames that have not begun with KEEP_BEGUN. */
enum output sim_socket_send(struct world *world, struct sim_conn *conn, struct frame *frames,
                            unsigned n, enum output_keep how, unsigned *ret_begun)
{
        unsigned i = 0, waiting = conn->n_pending, begun, end;

        if (faults_strike(world, FAULT_SOCKET_LOST)) {
                for (; i < n; i++)
                        sim_conn_drop(&frames[i]);
                sim_socket_lose(world, conn);
                return OUTPUT_LOST;
        }
        while (waiting == 0 && i < n && put(world, conn, &frames[i]))
                i++;
        *ret_begun = n;
        if (i == n)
                return OUTPUT_SENT;
        begun = waiting == 0 && world_chance(world, 500) ? i + 1 : i;
        end = how == KEEP_ALL ? n : begun;
        if (waiting + (end - i) > PENDING_MAX) {
                for (; i < n; i++)
                        sim_conn_drop(&frames[i]);
                check(waiting > 0);
                return OUTPUT_FULL;
        }
        for (; i < end; i++)
                conn->pending[conn->n_pending++] = frames[i];
        for (; i < n; i++)
                sim_conn_drop(&frames[i]);
        *ret_begun = begun;
        sim_socket_want_write(world, conn, true);
        return OUTPUT_BLOCKED;
}

enum output sim_socket_flush(struct world *world, struct sim_conn *conn)
{
        unsigned i = 0;

        while (i < conn->n_pending && put(world, conn, &conn->pending[i]))
                i++;
        for (unsigned k = i; k < conn->n_pending; k++)
                conn->pending[k - i] = conn->pending[k];
        conn->n_pending -= i;
        return conn->n_pending == 0 ? OUTPUT_SENT : OUTPUT_BLOCKED;
}

enum output sim_socket_say(struct world *world, struct sim_conn *conn, struct frame frame)
{
        unsigned begun;

        return sim_socket_send(world, conn, &frame, 1, KEEP_ALL, &begun);
}

void sim_conn_gone(struct world *world, struct sim_conn *conn)
{
        (void)world;
        if (conn->at_node)
                audiences_leave(conn->worker->audiences, conn->session.audience);
        conn->at_node = false;
        conn->session.state = SESSION_CLOSED;
        for (unsigned i = 0; i < conn->n_pending; i++)
                sim_conn_drop(&conn->pending[i]);
        conn->n_pending = 0;
}
