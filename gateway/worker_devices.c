/* gateway/worker_devices.c -- single devices, on the worker's thread: who is looked for by id, one
 * session per device, and the roll of who came and went. See the header for how that is paced. */
#include "gateway/worker_devices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/clock.h"
#include "gateway/session_device.h"
#include "gateway/worker_inside.h"

struct worker_left { /* who was told of, and has gone */
        struct worker_left *next;
        uint64_t session;
        char device[];
};

/* Monotonic: when it came. Who replaced another within one millisecond is dated behind it, and so a
 * little ahead of now; that is told apart from an age of weeks by where it lies in the 32 bits. */
static uint64_t came_ms(const struct worker *worker, const struct conn *conn)
{
        uint32_t ago_ms = worker_now(worker) - conn->name->since_ms;

        if (ago_ms > UINT32_MAX - SESSION_SPAN_MAX_MS)
                return worker->now_ms + (UINT32_MAX - ago_ms) + 1;
        return worker->now_ms - ago_ms;
}

/* Of the sessions with this id, the next other than `but`; *walk is 0 before the first. */
static struct conn *next_of(const struct worker *worker, uint32_t hash, const char *device,
                            const struct conn *but, uint32_t *walk)
{
        uint32_t slot;

        while (roster_next(&worker->roster, hash, walk, &slot)) {
                struct conn *conn = worker->conns[slot];

                if (conn != but && strcmp(conn->name->device, device) == 0)
                        return conn;
        }
        return NULL;
}

static struct conn *find(const struct worker *worker, uint32_t hash, const char *device)
{
        uint32_t walk = 0;

        return next_of(worker, hash, device, NULL, &walk);
}

/* --- one session per device ------------------------------------------------------------------- */

static void replace(struct worker *worker, struct conn *conn)
{
        metric_add(&m_replaced, 1);
        session_device_replace(worker, conn);
}

void worker_devices_came(struct worker *worker, struct conn *conn)
{
        struct conn_name *name = conn->name;
        uint32_t walk = 0;
        struct conn *older;

        /* Ending one changes the table, so the walk begins anew; there is one at most but for
         * sessions that ended in this very call. */
        while ((older = next_of(worker, name->hash, name->device, conn, &walk)) != NULL) {
                /* Whoever compares by time and session must find what happened here. */
                if (came_ms(worker, conn) <= came_ms(worker, older))
                        name->since_ms = older->name->since_ms + 1;
                replace(worker, older);
                walk = 0;
        }
}

static void run_compare(struct letter *letter, void *owner)
{
        struct worker_roll *roll = (struct worker_roll *)letter;
        struct worker *worker = owner;

        worker->now_ms = clock_mono_ms();
        for (unsigned i = 0; i < roll->n_came; i++) {
                const struct worker_roll_row *row = &roll->rows[i];
                struct conn *conn =
                    find(worker, roster_hash(&worker->roster, row->device), row->device);
                uint64_t since_ms;

                if (conn == NULL)
                        continue;
                since_ms = came_ms(worker, conn);
                if (since_ms < row->since_ms ||
                    (since_ms == row->since_ms && conn->name->session < row->session))
                        replace(worker, conn);
        }
        free(roll);
}

void worker_compare(struct worker *worker, const struct worker_roll *roll)
{
        size_t size = sizeof(*roll) + roll->n_came * sizeof(roll->rows[0]);
        struct worker_roll *copy = malloc(size);

        if (copy == NULL)
                return; /* of two sessions both stay, until one ends */
        memcpy(copy, roll, size);
        copy->letter.run = run_compare;
        mailbox_post(worker->mailbox, &copy->letter);
}

/* --- the roll --------------------------------------------------------------------------------- */

bool worker_devices_goes(struct worker *worker, const struct conn *conn, enum close_reason reason)
{
        struct worker_devices *devices = &worker->devices_roll;
        size_t len = strlen(conn->name->device) + 1;
        struct worker_left *left;

        if (conn->slot >= devices->n_known)
                return false;
        devices->n_known--;
        /* Who is replaced is somewhere else: its record is the other's already, or soon. */
        if (reason == CLOSE_REPLACED || devices->n_left == ROLL_LEFT_MAX)
                return true;
        left = malloc(sizeof(*left) + len);
        if (left == NULL)
                return true;
        left->next = NULL;
        left->session = conn->name->session;
        memcpy(left->device, conn->name->device, len);
        *devices->left_end = left;
        devices->left_end = &left->next;
        devices->n_left++;
        return true;
}

static void take_left(struct worker_devices *devices, struct worker_roll_row *row)
{
        struct worker_left *left = devices->left;

        row->session = left->session;
        row->since_ms = 0;
        strcpy(row->device, left->device);
        devices->left = left->next;
        if (devices->left == NULL)
                devices->left_end = &devices->left;
        devices->n_left--;
        free(left);
}

static void run_roll(struct letter *letter, void *owner)
{
        struct worker_roll *roll = (struct worker_roll *)letter;

        roll->on_roll(owner, roll);
}

static uint32_t at_most(uint32_t n, uint32_t most)
{
        return n < most ? n : most;
}

static void tell(struct worker *worker)
{
        struct worker_devices *devices = &worker->devices_roll;
        uint32_t n_came = at_most(worker->n_conns - devices->n_known, worker->options.roll_max);
        uint32_t n_left = at_most(devices->n_left, worker->options.roll_max);
        struct worker_roll *roll =
            malloc(sizeof(*roll) + (n_came + n_left) * sizeof(roll->rows[0]));

        devices->told_ms = worker->now_ms;
        if (roll == NULL)
                return; /* the next time */
        roll->letter.run = run_roll;
        roll->on_roll = worker->options.on_roll;
        roll->worker = worker->options.index;
        roll->n_came = n_came;
        roll->n_left = n_left;
        for (uint32_t i = 0; i < n_came; i++) {
                const struct conn *conn = worker->conns[devices->n_known++];

                roll->rows[i].session = conn->name->session;
                roll->rows[i].since_ms = came_ms(worker, conn);
                strcpy(roll->rows[i].device, conn->name->device);
        }
        for (uint32_t i = 0; i < n_left; i++)
                take_left(devices, &roll->rows[n_came + i]);
        devices->is_out = true;
        mailbox_post(worker->options.control, &roll->letter);
}

void worker_devices_turn(struct worker *worker)
{
        struct worker_devices *devices = &worker->devices_roll;
        uint64_t due_ms = devices->told_ms + ROLL_EVERY_MS;

        if (worker->options.on_roll == NULL || devices->is_out || devices->is_waiting ||
            (devices->n_known == worker->n_conns && devices->n_left == 0))
                return;
        if (worker->now_ms >= due_ms) {
                tell(worker);
        } else {
                struct timeval in = { 0, (suseconds_t)((due_ms - worker->now_ms) * 1000) };

                devices->is_waiting = event_add(devices->timer, &in) == 0;
        }
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
        struct worker *worker = arg;

        (void)fd;
        (void)what;
        worker->now_ms = clock_mono_ms();
        worker->devices_roll.is_waiting = false; /* the end of this turn tells */
}

struct go_on {
        struct letter letter;
        bool again;
};

static void run_go_on(struct letter *letter, void *owner)
{
        struct go_on *go_on = (struct go_on *)letter;
        struct worker *worker = owner;

        worker->now_ms = clock_mono_ms();
        worker->devices_roll.is_out = false;
        if (go_on->again)
                worker->devices_roll.n_known = 0;
        free(go_on);
}

void worker_go_on(struct worker *worker, bool again)
{
        struct go_on *go_on = malloc(sizeof(*go_on));

        check(go_on != NULL); /* or this worker would never tell anything again */
        go_on->letter.run = run_go_on;
        go_on->again = again;
        mailbox_post(worker->mailbox, &go_on->letter);
}

/* --- questions -------------------------------------------------------------------------------- */

static enum device_outcome give_message(struct worker *worker, struct conn *conn,
                                        const struct device_message *message,
                                        uint32_t *ret_retry_ms)
{
        *ret_retry_ms = 1000;
        if (conn->session.state == SESSION_WAITING)
                return DEVICE_JOINING;
        if (!session_device_takes(conn))
                return DEVICE_FULL;
        *ret_retry_ms =
            message_limit_take(&worker->message_limit, conn->name->hash, worker->now_ms);
        if (*ret_retry_ms > 0)
                return DEVICE_LIMITED;
        if (!session_device_message(worker, conn, message))
                return DEVICE_ABSENT; /* it went while it was written to */
        metric_add(&m_device_messages, 1);
        return DEVICE_HERE;
}

static void answer(struct worker *worker, const struct device_query *query,
                   struct worker_errand *errand)
{
        struct device_answer *answer = &errand->answer;
        struct conn *conn =
            find(worker, roster_hash(&worker->roster, query->device), query->device);

        if (conn == NULL || (query->session != 0 && query->session != conn->name->session))
                return;
        answer->outcome = DEVICE_HERE;
        answer->session = conn->name->session;
        errand->since_ms = came_ms(worker, conn);
        session_device_describe(worker, conn, answer);
        if (query->what == DEVICE_MESSAGE)
                answer->outcome =
                    give_message(worker, conn, &query->message, &answer->retry_after_ms);
        else if (query->what == DEVICE_REPLACED)
                replace(worker, conn);
}

static void run_answer(struct letter *letter, void *owner)
{
        struct worker_errand *errand = (struct worker_errand *)letter;

        errand->on_answer(owner, errand);
}

static void run_errand(struct letter *letter, void *owner)
{
        struct worker_errand *errand = (struct worker_errand *)letter;
        struct worker *worker = owner;

        worker->now_ms = clock_mono_ms();
        memset(&errand->answer, 0, sizeof(errand->answer)); /* DEVICE_ABSENT */
        answer(worker, errand->query, errand);
        errand->letter.run = run_answer;
        mailbox_post(errand->control, &errand->letter);
}

void worker_ask(struct worker *worker, struct worker_errand *errand)
{
        errand->letter.run = run_errand;
        mailbox_post(worker->mailbox, &errand->letter);
}

/* --- beginning and end ------------------------------------------------------------------------ */

enum err worker_devices_init(struct worker *worker)
{
        struct worker_devices *devices = &worker->devices_roll;

        roster_init(&worker->roster, rng_secure_u64(), rng_secure_u64());
        devices->left_end = &devices->left;
        devices->timer = evtimer_new(worker->base, on_timer, worker);
        return devices->timer != NULL ? OK : ERR_NOMEM;
}

void worker_devices_fini(struct worker *worker)
{
        struct worker_devices *devices = &worker->devices_roll;
        struct worker_roll_row row;

        while (devices->left != NULL)
                take_left(devices, &row);
        if (devices->timer != NULL)
                event_free(devices->timer);
        roster_fini(&worker->roster);
}
