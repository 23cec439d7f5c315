/* producer/routes_drain.c -- POST /v1/nodes/NAME/drain: tells any node of the fleet to send its
 * devices away and to end. Decides what the order says from what is known of the fleet
 * (fanout/order.h), and answers with what will happen; the node acts by itself, this one at once,
 * another when it reads the order, within a second. Asked twice is asked once: who drains already
 * is answered as it is, and goes on. A dry run gets the same answer, and nobody is told. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "fanout/order.h"
#include "fanout/presence.h"
#include "producer/admin_inside.h"
#include "producer/view.h"

struct draining {
        struct pending pending; /* first */
        char name[NODE_NAME_MAX + 1];
        struct order order; /* rate 0 until it is known */
        bool dry_run;
        json_t *answer;
};

static bool is_this_node(const struct draining *draining, const char *name)
{
        const struct admin_options *options = &draining->pending.admin->options;

        return options->name != NULL && options->on_order != NULL &&
               strcmp(name, options->name) == 0;
}

static void end(struct draining *draining)
{
        pending_finish(&draining->pending);
        json_decref(draining->answer);
        free(draining);
}

static void accept_order(struct draining *draining)
{
        const struct order *order = &draining->order;
        struct audit_note note;
        char what[64];

        snprintf(what, sizeof(what), "{\"within_ms\":%u,\"rate\":%u}", order->within_ms,
                 order->rate);
        audit_note_of(draining->pending.request, what, &note);
        audit_done(draining->pending.admin, "drain", AUDIT_NODE, draining->name, &note);
        reply_view(draining->pending.request, 202, json_incref(draining->answer));
        pending_answered(&draining->pending);
}

static void on_written(void *owner, const struct redis_reply *reply)
{
        struct draining *draining = owner;

        if (pending_is_open(&draining->pending)) {
                if (reply == NULL || redis_type(reply) == REDIS_ERROR) {
                        reply_redis(draining->pending.request,
                                    reply == NULL ? ERR_TIMEOUT : ERR_IO);
                        pending_answered(&draining->pending);
                } else {
                        accept_order(draining);
                }
        }
        end(draining);
}

/* "There is no node `c`. Known: a, b." */
static void answer_unknown(struct draining *draining, const struct presence *nodes, size_t n)
{
        struct buf text = BUF_INIT;

        buf_printf(&text, "There is no node `%s`. Known: ", draining->name);
        for (size_t i = 0; i < n; i++)
                buf_printf(&text, "%s%s", i > 0 ? ", " : "", nodes[i].name);
        buf_str(&text, n > 0 ? "." : "none.");
        httpd_reply_problem(draining->pending.request, 404, "node-not-found", "No such node",
                            text.failed ? "There is no node of this name." : text.data, NULL);
        buf_fini(&text);
}

static void answer_gone(struct draining *draining, const struct presence *node)
{
        char detail[256];

        snprintf(detail, sizeof(detail),
                 "Node `%s` %s: there is nobody to tell. Its devices have come back elsewhere.",
                 node->name,
                 node->ended ? "has ended" : "has not been heard of for more than 5 seconds");
        httpd_reply_problem(draining->pending.request, 409, "node-gone", "The node is gone", detail,
                            NULL);
}

/* What is there for its devices: living nodes that stay. 0 of those that did not say counts as
 * none. */
static uint64_t room_elsewhere(const struct presence *nodes, size_t n, const char *name)
{
        uint64_t room = 0;

        for (size_t i = 0; i < n; i++)
                if (presence_others(&nodes[i], 1, name) == 1 && nodes[i].room > nodes[i].devices)
                        room += nodes[i].room - nodes[i].devices;
        return room;
}

static json_t *describe(const struct draining *draining, const struct presence *node,
                        unsigned others, uint64_t room, bool already)
{
        const struct order *order = &draining->order;
        int64_t until = already ? node->leaves : order->given + order->within_ms;
        uint64_t told_ms = order->rate != 0 ? order_over_ms(node->devices, order->rate) : 0;
        char text[CLOCK_RFC3339_SIZE], started[CLOCK_RFC3339_SIZE];
        json_t *made;

        clock_format_rfc3339(until, text);
        clock_format_rfc3339(node->started, started);
        made = json_pack("{s:s, s:s, s:b, s:I, s:s, s:I, s:I, s:b}", "node", node->name, "started",
                         started, "already", (int)already, "devices", (json_int_t)node->devices,
                         "until", text, "others", (json_int_t)others, "room", (json_int_t)room,
                         "this_node", (int)is_this_node(draining, node->name));
        if (made == NULL || already)
                return made;
        (void)json_object_set_new(made, "within_ms", json_integer(order->within_ms));
        (void)json_object_set_new(made, "rate", json_integer(order->rate));
        (void)json_object_set_new(made, "told_ms", json_integer((json_int_t)told_ms));
        if (others == 0)
                (void)json_object_set_new(
                    made, "warning",
                    json_string(
                        "No other node is alive: its devices have nowhere to go until one is."));
        else if (room < node->devices)
                (void)json_object_set_new(
                    made, "warning",
                    json_string(
                        "The other nodes have room for fewer devices than this one holds."));
        else if (told_ms > order_told_by_ms(order->within_ms))
                (void)json_object_set_new(
                    made, "warning",
                    json_string(
                        "At this rate there is not time for all: the rest is told before the "
                        "end, and comes back later, at the same rate."));
        return made;
}

/* Who drains already would be told nothing. */
static void answer_dry_run(struct draining *draining)
{
        const json_t *told_ms = json_object_get(draining->answer, "told_ms");

        (void)json_object_set_new(draining->answer, "dry_run", json_true());
        (void)json_object_set_new(draining->answer, "would", json_string("drain"));
        (void)json_object_set_new(draining->answer, "estimated_ms",
                                  json_integer(json_integer_value(told_ms)));
        reply_view(draining->pending.request, 200, json_incref(draining->answer));
}

/* False: answered, or given up. */
static bool decide(struct draining *draining, const struct presence *nodes, size_t n)
{
        struct order *order = &draining->order;
        const struct presence *node = NULL;
        unsigned others = presence_others(nodes, n, draining->name);
        uint64_t room = room_elsewhere(nodes, n, draining->name);

        for (size_t i = 0; i < n; i++)
                if (strcmp(nodes[i].name, draining->name) == 0)
                        node = &nodes[i];
        if (node == NULL) {
                answer_unknown(draining, nodes, n);
        } else if (node->ended || node->gone) {
                answer_gone(draining, node);
        } else {
                bool already = node->leaves != 0;

                order->given = clock_wall_ms();
                order->started = node->started;
                if (order->rate == 0)
                        order->rate = order_rate(node->devices, others, order->within_ms);
                draining->answer = describe(draining, node, others, room, already);
                if (draining->answer != NULL && !already && !draining->dry_run)
                        return true;
                if (draining->dry_run)
                        answer_dry_run(draining);
                else
                        reply_view(draining->pending.request, 202, json_incref(draining->answer));
        }
        pending_answered(&draining->pending);
        return false;
}

static void on_nodes(void *owner, enum err err, const struct presence *nodes, size_t n)
{
        struct draining *draining = owner;
        const struct admin_options *options;

        if (!pending_is_open(&draining->pending)) {
                end(draining);
                return;
        }
        options = &draining->pending.admin->options;
        if (err != OK) {
                reply_redis(draining->pending.request, err);
                pending_answered(&draining->pending);
                end(draining);
        } else if (!decide(draining, nodes, n)) {
                end(draining);
        } else if (is_this_node(draining, draining->name)) {
                accept_order(draining); /* before this node refuses to speak */
                options->on_order(options->owner, &draining->order);
                end(draining);
        } else {
                err = order_write(options->writes, options->ns, draining->name, &draining->order,
                                  on_written, draining);
                if (err == OK)
                        return;
                reply_redis(draining->pending.request, err);
                pending_answered(&draining->pending);
                end(draining);
        }
}

static bool read_rate(const json_t *object, uint32_t *ret_rate, struct fault *fault)
{
        const json_t *value = json_object_get(object, "rate");
        json_int_t rate = json_integer_value(value);

        if (value == NULL)
                return true;
        if (!json_is_integer(value) || rate < 1 || rate > ORDER_RATE_MAX) {
                fault_set(fault, 400, "invalid-field", "Invalid field",
                          "`rate` must be a number of devices a second from 1 to %d",
                          ORDER_RATE_MAX);
                return false;
        }
        *ret_rate = (uint32_t)rate;
        return true;
}

static bool read_body(struct httpd_request *request, struct order *order, struct fault *fault)
{
        static const char *const members[] = { "within", "rate" };
        int64_t within_ms = ORDER_WITHIN_MS;
        bool has_within = false, fine;
        const char *body;
        json_t *object;
        size_t len;

        body = httpd_body(request, &len);
        if (!input_parse(body, len, httpd_header(request, "Content-Type"), &object, fault))
                return false;
        fine = input_known(object, members, countof(members), fault) &&
               input_duration(object, "within", &has_within, &within_ms, fault) &&
               read_rate(object, &order->rate, fault);
        if (fine && (within_ms < ORDER_WITHIN_MIN_MS || within_ms > ORDER_WITHIN_MAX_MS)) {
                fault_set(fault, 400, "invalid-field", "Invalid field",
                          "`within` must be a duration from \"%ds\" to \"1h\"",
                          ORDER_WITHIN_MIN_MS / 1000);
                fine = false;
        }
        order->within_ms = (uint32_t)within_ms;
        json_decref(object);
        return fine;
}

void routes_drain_node(void *owner, struct httpd_request *request)
{
        const char *name = httpd_placeholder(request, 0);
        struct admin *admin = owner;
        struct draining *draining;
        struct order order = { 0 };
        struct fault fault;
        bool dry_run;
        enum err err;

        if (!guard_order(admin, request, &dry_run))
                return;
        if (!read_body(request, &order, &fault)) {
                reply_fault(request, &fault);
                return;
        }
        draining = calloc(1, sizeof(*draining));
        if (draining == NULL) {
                reply_redis(request, ERR_NOMEM);
                return;
        }
        if (!pending_start(&draining->pending, admin, request, pending_read_late)) {
                free(draining);
                return;
        }
        draining->order = order;
        draining->dry_run = dry_run;
        /* What cannot be a node's name is nobody's: the list of known ones is the answer. */
        strcpy(draining->name, name_is_valid(name, strlen(name), NODE_NAME_MAX) ? name : "?");
        err = presence_read(admin->options.redis, admin->options.ns, clock_wall_ms(), on_nodes,
                            draining);
        if (err != OK)
                on_nodes(draining, err, NULL, 0);
}
