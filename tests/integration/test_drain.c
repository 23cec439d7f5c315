/* A node of a fleet is told to leave, by an operator who asks another node: its devices go to the
 * others without a gap, and the order is for that run of the node alone. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/integration/harness.h"
#include "tests/support/redis_server.h"
#include "tests/support/tcp_proxy.h"

#define NODES           3
#define DEVICES         30
#define SIGNAL_EVERY_MS 30

struct fleet {
        struct test_redis *redis;
        struct test_node nodes[NODES]; /* "a", "b", "c" */
};

static void node_start_as(struct fleet *fleet, unsigned i)
{
        const char name[] = { (char)('a' + i), '\0' };

        node_start(&fleet->nodes[i], "--redis", test_redis_url(fleet->redis), "--name", name,
                   "--drain=2s", NULL);
}

static void fleet_start(struct fleet *fleet, unsigned n)
{
        memset(fleet, 0, sizeof(*fleet));
        fleet->redis = test_redis_start(NULL);
        for (unsigned i = 0; i < n; i++)
                node_start_as(fleet, i);
}

static void fleet_end(struct fleet *fleet)
{
        for (unsigned i = 0; i < NODES; i++)
                if (fleet->nodes[i].dir[0] != '\0')
                        node_end(&fleet->nodes[i]);
        test_redis_destroy(fleet->redis);
}

/* The number of ms that `member`, a time, of node `name` is at, as node `asked` knows it. */
static int64_t node_time(const struct test_node *asked, const char *name, const char *member)
{
        struct answer answer = ask(asked, "GET", "/v1/nodes", NULL, NULL);
        const json_t *nodes = json_object_get(answer.json, "nodes");
        int64_t ms = 0;

        for (size_t i = 0; i < json_array_size(nodes); i++) {
                const json_t *node = json_array_get(nodes, i);
                const char *text = json_string_value(json_object_get(node, member));

                if (strcmp(json_string_value(json_object_get(node, "name")), name) == 0 &&
                    (text == NULL || clock_parse_rfc3339(text, &ms) != 0))
                        give_up("node %s has no %s", name, member);
        }
        answer_end(&answer);
        return ms;
}

static bool is_over(void *arg)
{
        struct test_node *node = arg;
        int status;

        if (node->pid == 0 || waitpid(node->pid, &status, WNOHANG) != node->pid)
                return node->pid == 0;
        node->pid = 0;
        cr_assert(eq(int, status, 0)); /* as waitpid has it: exited with 0 */
        return true;
}

struct sign {
        const struct test_node *asked;
        int64_t after;
};

static bool b_has_been_seen(void *arg)
{
        const struct sign *sign = arg;

        return node_time(sign->asked, "b", "seen") > sign->after;
}

/* Two heartbeats: with the second it has asked for orders since, and heard. */
static void let_it_read(struct fleet *fleet)
{
        for (unsigned i = 0; i < 2; i++) {
                struct sign sign = { &fleet->nodes[0], clock_wall_ms() };

                wait_until(b_has_been_seen, &sign, "a heartbeat of node b");
        }
}

/* --- a drain --------------------------------------------------------------------------------- */

struct teller {
        const char *admin;
        char *out;
        int status;
};

static void *drain_b(void *arg)
{
        struct teller *teller = arg;

        teller->status = run_program(&teller->out, "kickoff", "drain", "b", "--within", "30s",
                                     "--rate", "20", "--admin", teller->admin, NULL);
        return NULL;
}

/* All devices have the same balancer before them, which deals them in turn, and passes over who
 * refuses. */
static struct tcp_proxy *balancer(struct fleet *fleet, struct test_node *ret_door)
{
        struct tcp_proxy *proxy = NULL;
        char server[64];

        for (unsigned i = 0; i < NODES; i++) {
                snprintf(server, sizeof(server), "127.0.0.1:%u", fleet->nodes[i].port);
                if (i == 0)
                        proxy = tcp_proxy_start(server, NULL, NULL);
                else
                        tcp_proxy_set_server(proxy, i, server);
        }
        memset(ret_door, 0, sizeof(*ret_door));
        snprintf(ret_door->url, sizeof(ret_door->url), "ws://127.0.0.1:%u", tcp_proxy_port(proxy));
        return proxy;
}

static void run_all(struct recorder *devices)
{
        for (unsigned i = 0; i < DEVICES; i++)
                kickoff_device_service(devices[i].device, 0);
}

static unsigned at_b(const struct recorder *devices)
{
        unsigned n = 0;

        for (unsigned i = 0; i < DEVICES; i++)
                n += strcmp(devices[i].hello.node, "b") == 0;
        return n;
}

static size_t tell(const struct test_node *node, size_t n)
{
        char body[48];
        struct answer answer;

        snprintf(body, sizeof(body), "{\"stage\":\"s%zu\"}", n);
        answer = ask(node, "POST", "/v1/events/final/stage", body, NULL);
        cr_assert(eq(int, answer.status, 200));
        answer_end(&answer);
        return n + 1;
}

/* Under signals, until the node has ended and everybody is elsewhere. */
static size_t signals_until_moved(struct fleet *fleet, struct recorder *devices)
{
        uint64_t until = clock_mono_ms() + PATIENCE_MS, next_ms = 0;
        size_t told = 0;

        while (!is_over(&fleet->nodes[1]) || at_b(devices) > 0) {
                if (clock_mono_ms() > until)
                        give_up("the node does not end, or %u devices do not go elsewhere",
                                at_b(devices));
                if (clock_mono_ms() >= next_ms) {
                        told = tell(&fleet->nodes[0], told);
                        next_ms = clock_mono_ms() + SIGNAL_EVERY_MS;
                }
                run_all(devices);
        }
        return tell(&fleet->nodes[0], told);
}

static void had_no_gap(const struct recorder *device, size_t told, const char *name)
{
        cr_assert(eq(sz, device->n_signals, told), "%s", name);
        for (size_t i = 1; i < told; i++)
                cr_assert(
                    eq(u64, device->signals[i].token.seq, device->signals[i - 1].token.seq + 1),
                    "%s", name);
        cr_assert(eq(uint, device->resets, 1), "%s", name); /* when it first came */
}

Test(drain, devices_go_to_the_others_under_signals_without_a_gap)
{
        struct recorder *devices = calloc(DEVICES, sizeof(*devices));
        struct teller teller = { 0 };
        struct test_node door;
        struct tcp_proxy *proxy;
        struct fleet fleet;
        unsigned moved = 0, were_at_b;
        char name[16];
        pthread_t thread;
        size_t told;

        fleet_start(&fleet, NODES);
        create_event(&fleet.nodes[0], "final");
        proxy = balancer(&fleet, &door);
        for (unsigned i = 0; i < DEVICES; i++) {
                snprintf(name, sizeof(name), "tv-%u", i);
                recorder_start(&devices[i], &door, name, NULL,
                               i % 2 ? ENCODING_JSON : ENCODING_MSGPACK);
        }
        were_at_b = at_b(devices);
        cr_assert(eq(uint, were_at_b, DEVICES / NODES));

        let_it_read(&fleet); /* so that the others know what it holds */
        teller.admin = fleet.nodes[2].admin;
        cr_assert(eq(int, pthread_create(&thread, NULL, drain_b, &teller), 0));
        told = signals_until_moved(&fleet, devices);
        pthread_join(thread, NULL);
        cr_assert(eq(int, teller.status, 0), "%s", teller.out);
        cr_assert(strstr(teller.out, "b sends 10 devices to 2 other nodes, 20 a second") != NULL,
                  "%s", teller.out);
        cr_assert(strstr(teller.out, "b has ended") != NULL, "%s", teller.out);
        free(teller.out);

        for (unsigned i = 0; i < DEVICES; i++) {
                snprintf(name, sizeof(name), "tv-%u", i);
                recorder_until_signals(&devices[i], told);
                had_no_gap(&devices[i], told, name);
                /* Asked once, and then it went once; nobody else was disturbed. */
                cr_assert(eq(uint, devices[i].hellos, 1 + devices[i].goaways), "%s", name);
                cr_assert(devices[i].goaways == 0 || devices[i].hello.recovered, "%s", name);
                moved += devices[i].goaways;
        }
        cr_assert(eq(uint, moved, were_at_b));
        cr_assert(node_log_has(&fleet.nodes[1], "why=order devices=10 within_ms=30000"));
        cr_assert(node_log_has(&fleet.nodes[1], "DRAIN-PACED devices=10 rate=20 over_ms=500"));
        for (unsigned i = 0; i < DEVICES; i++)
                recorder_end(&devices[i]);
        free(devices);
        tcp_proxy_destroy(proxy);
        fleet_end(&fleet);
}

/* --- whose order it is ----------------------------------------------------------------------- */

static void write_order(struct fleet *fleet, const char *name, int64_t started)
{
        char order[160];

        snprintf(
            order, sizeof(order),
            "{\"what\":\"drain\",\"started\":%lld,\"given\":%lld,\"within_ms\":60000,\"rate\":9}",
            (long long)started, (long long)clock_wall_ms());
        test_redis_do(fleet->redis, "HSET", "{kickoff}:orders", name, order, NULL);
}

static void expect_stays(struct fleet *fleet)
{
        struct answer answer;

        let_it_read(fleet);
        cr_assert(not(is_over(&fleet->nodes[1])));
        answer = ask(&fleet->nodes[1], "GET", "/readyz", NULL, NULL);
        cr_assert(eq(int, answer.status, 200));
        answer_end(&answer);
        cr_assert(not(node_log_has(&fleet->nodes[1], "NODE-LEAVES")));
}

Test(drain, an_order_for_another_run_of_the_node_is_not_followed)
{
        struct fleet fleet;
        int64_t started;

        fleet_start(&fleet, 2);
        let_it_read(&fleet);
        started = node_time(&fleet.nodes[0], "b", "started");
        write_order(&fleet, "b", started - 1);
        expect_stays(&fleet);
        write_order(&fleet, "b", started); /* this one is for it */
        wait_until(is_over, &fleet.nodes[1], "node b to follow its order");
        cr_assert(node_log_has(&fleet.nodes[1], "NODE-LEAVES why=order"));

        node_start_as(&fleet, 1); /* the order is in Redis still */
        expect_stays(&fleet);
        fleet_end(&fleet);
}

/* --- haste ----------------------------------------------------------------------------------- */

static bool is_draining(void *arg)
{
        struct answer answer = ask(arg, "GET", "/readyz", NULL, NULL);
        const char *why = json_string_value(json_object_get(answer.json, "detail"));
        bool is = answer.status == 503 && why != NULL && strstr(why, "draining") != NULL;

        answer_end(&answer);
        return is;
}

Test(drain, a_signal_makes_a_slow_drain_end_in_time)
{
        struct answer answer;
        struct fleet fleet;
        int fds[4];

        fleet_start(&fleet, 2);
        let_it_read(&fleet);
        for (unsigned i = 0; i < 4; i++) { /* they hear nothing, and never leave */
                char name[16];

                snprintf(name, sizeof(name), "tv-%u", i);
                fds[i] = raw_connect(&fleet.nodes[1], 0);
                raw_upgrade(fds[i], name, "");
        }
        answer = ask(&fleet.nodes[0], "POST", "/v1/nodes/b/drain", "{\"within\":\"1h\",\"rate\":1}",
                     NULL);
        cr_assert(eq(int, answer.status, 202));
        answer_end(&answer);
        wait_until(is_draining, &fleet.nodes[1], "node b to say that it drains");
        answer = ask(&fleet.nodes[0], "POST", "/v1/nodes/b/drain", "{\"within\":\"10s\"}", NULL);
        cr_assert(eq(int, answer.status, 202));
        cr_assert(eq(ptr, json_object_get(answer.json, "already"), json_true()));
        answer_end(&answer);
        cr_assert(eq(int, node_stop(&fleet.nodes[1], SIGTERM), 0)); /* --drain=2s */
        cr_assert(node_log_has(&fleet.nodes[1], "why=SIGTERM"));
        cr_assert(not(node_log_has(&fleet.nodes[1], "NODE-ENDS-NOW")));
        for (unsigned i = 0; i < 4; i++)
                close(fds[i]);
        fleet_end(&fleet);
}
