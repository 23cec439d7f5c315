/* gateway/session_device.c -- see the header. */
#include "gateway/session_device.h"

#include <stdio.h>

#include "fanout/frame.h"
#include "gateway/output.h"
#include "gateway/session_io.h"
#include "gateway/worker_inside.h"

/* JSON writes a control character as six bytes, and both texts may be nothing else. */
#define PAYLOAD_MAX (6 * (MESSAGE_BODY_MAX + 64) + 64)
_Static_assert(PAYLOAD_MAX + FRAME_AROUND_MAX <= WORKER_COMPOSE_SIZE,
               "a message is composed there");

#define WAITS_AT_MOST 1 /* frames */

bool session_device_takes(const struct conn *conn)
{
        return output_waiting(conn) <= WAITS_AT_MOST;
}

bool session_device_message(struct worker *worker, struct conn *conn,
                            const struct device_message *message)
{
        struct message said = { .type = MESSAGE_MESSAGE, .message = *message };
        enum wire wire = conn->session.is_stream ? WIRE_STREAM : (enum wire)conn->session.encoding;
        char array[PAYLOAD_MAX];
        struct buf payload, out;
        enum output output;

        buf_init_fixed(&payload, array, sizeof(array));
        message_encode(&said, (enum encoding)conn->session.encoding, &payload);
        check(!payload.failed);
        buf_init_fixed(&out, worker->compose, sizeof(worker->compose));
        frame_add(&out, wire, &payload, NULL);
        check(!out.failed);
        output = session_io_send(worker, conn, out.data, out.len);
        check(output != OUTPUT_FULL);
        return output != OUTPUT_LOST;
}

void session_device_replace(struct worker *worker, struct conn *conn)
{
        static const struct goaway goaway = { .reason = GOAWAY_REPLACED };
        bool leaves = conn->session.state == SESSION_LEAVING;

        if (!leaves)
                session_io_leave(worker, conn, &goaway, 0);
        if (conn->phase == CONN_SESSION)
                session_io_close(worker, conn, leaves ? CLOSE_GOING : CLOSE_REPLACED);
}

void session_device_describe(const struct worker *worker, const struct conn *conn,
                             struct device_answer *ret_answer)
{
        const char *traits[TRAITS];
        size_t walk = conn->session.audience; /* its own sort is there as long as it is */
        uint32_t sessions;

        if (audiences_next(worker->audiences, &walk, traits, &sessions))
                snprintf(ret_answer->cohort, sizeof(ret_answer->cohort), "%s",
                         traits[TRAIT_COHORT]);
        snprintf(ret_answer->transport, sizeof(ret_answer->transport), "%s",
                 conn->session.is_stream ? "sse" : "websocket");
}
