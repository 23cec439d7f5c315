/* tests/faults/scene.c -- see the header. */
#include "tests/faults/scene.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/http_client.h"
#include "tests/support/free_port.h"

#define GET_MS 5000

/* --- small things --- */

uint64_t scene_now_us(void)
{
        return clock_mono_us();
}

double scene_ms_since(uint64_t then_us)
{
        return (double)(clock_mono_us() - then_us) / 1000.0;
}

double scene_ms_until(bool (*met)(void *arg), void *arg, const char *what)
{
        uint64_t begin_us = clock_mono_us();

        wait_until(met, arg, what);
        return scene_ms_since(begin_us);
}

bool scene_is_ready(const struct test_node *node)
{
        struct answer answer = ask_within(node, GET_MS, "GET", "/readyz", NULL, NULL, NULL);
        bool ready = answer.status == 200;

        answer_end(&answer);
        return ready;
}

bool scene_node_is_ready(void *node)
{
        return scene_is_ready(node);
}

bool scene_node_is_not_ready(void *node)
{
        return !scene_is_ready(node);
}

unsigned scene_log_count(const struct test_node *node, const char *text)
{
        char path[128], line[2048];
        unsigned n = 0;
        FILE *file;

        snprintf(path, sizeof(path), "%s/log", node->dir);
        file = fopen(path, "r");
        while (file && fgets(line, sizeof(line), file))
                n += strstr(line, text) != NULL;
        if (file)
                fclose(file);
        return n;
}

struct answer scene_get(const struct test_node *node, const char *path)
{
        struct test_node door = *node;

        snprintf(door.admin, sizeof(door.admin), "http://127.0.0.1:%u", node->port);
        return ask_within(&door, GET_MS, "GET", path, NULL, NULL, NULL);
}

const char *scene_built(const char *name)
{
        static char path[512];

        snprintf(path, sizeof(path), "%s/%s", FAULTS_BUILT_DIR, name);
        return path;
}

/* --- beginning --- */

static void start_redis(struct scene *s)
{
        struct test_redis_options o = { .in_child = s->options.redis_in_child,
                                        .arg = s->options.redis_in_child_arg,
                                        .dir = s->options.redis_dir };
        const char *a[12] = { NULL };

        if (s->options.redis) {
                s->redis = s->options.redis;
                return;
        }
        for (unsigned i = 0; s->options.redis_arguments && s->options.redis_arguments[i]; i++) {
                check(i + 1 < countof(a));
                a[i] = s->options.redis_arguments[i];
        }
        if (s->options.redis_in_space) {
                s->space = netns_create(1);
                o.in_child = netns_enter;
                o.arg = s->space;
                o.host = netns_address(s->space);
        }
        s->redis = test_redis_start_as(&o, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8],
                                       a[9], a[10], NULL);
        if (s->options.redis_proxied) {
                char server[128];

                snprintf(server, sizeof(server), "unix:%s", test_redis_socket(s->redis));
                if (s->space)
                        snprintf(server, sizeof(server), "%s:%u", netns_address(s->space),
                                 test_redis_port(s->redis));
                s->to_redis = tcp_proxy_start(server, NULL, NULL);
        }
}

static void open_doors(struct scene *s, struct test_node *node)
{
        uint16_t *ports[] = { &node->port, &node->admin_port };
        char server[40];

        for (unsigned i = 0; i < countof(ports); i++) {
                snprintf(server, sizeof(server), "127.0.0.1:%u", *ports[i]);
                s->doors[i] = tcp_proxy_start(server, netns_enter, s->options.far);
                *ports[i] = tcp_proxy_port(s->doors[i]);
        }
        snprintf(node->url, sizeof(node->url), "ws://127.0.0.1:%u", node->port);
        snprintf(node->admin, sizeof(node->admin), "http://127.0.0.1:%u", node->admin_port);
}

void scene_start_node(struct scene *s, unsigned i)
{
        struct test_node *node = &s->nodes[i];
        char listen[40], admin[40], name[16], url[64];
        const char *redis = test_redis_url(s->redis);
        const char *a[12] = { NULL };

        if (node->port == 0) {
                node->port = test_free_port();
                node->admin_port = test_free_port();
        }
        for (unsigned k = 0; s->options.node_arguments && s->options.node_arguments[k]; k++) {
                check(k + 1 < countof(a));
                a[k] = s->options.node_arguments[k];
        }
        snprintf(listen, sizeof(listen), "--listen=127.0.0.1:%u", node->port);
        snprintf(admin, sizeof(admin), "--admin=127.0.0.1:%u", node->admin_port);
        snprintf(name, sizeof(name), "%c", 'a' + (char)i);
        if (s->to_redis) {
                snprintf(url, sizeof(url), "redis://127.0.0.1:%u", tcp_proxy_port(s->to_redis));
                redis = url;
        }
        if (s->options.redis_url)
                redis = s->options.redis_url;
        if (s->options.redis_urls[i])
                redis = s->options.redis_urls[i];
        node->in_child = NULL;
        if (s->options.only_node == 0 || s->options.only_node == i + 1)
                node->in_child = s->options.node_in_child;
        node->in_child_arg = s->options.node_in_child_arg;
        if (s->options.far && s->options.far_node == i + 1) {
                node->in_child = netns_enter;
                node->in_child_arg = s->options.far;
        }
        node_start(node, listen, admin, "--name", name, "--redis", redis, a[0], a[1], a[2], a[3],
                   a[4], a[5], a[6], a[7], a[8], a[9], a[10], NULL);
        if (s->options.far && s->options.far_node == i + 1)
                open_doors(s, node);
}

static void start_crew(struct scene *s)
{
        struct crew_options o = { .n = s->options.n_devices };
        char url[64], server[64];

        for (unsigned i = 0; i < s->n_nodes; i++)
                o.urls[i] = s->nodes[i].url;
        if (s->options.devices_roam) {
                for (unsigned i = 0; i < s->n_nodes; i++) {
                        snprintf(server, sizeof(server), "127.0.0.1:%u", s->nodes[i].port);
                        if (i == 0)
                                s->balancer = tcp_proxy_start(server, NULL, NULL);
                        else
                                tcp_proxy_set_server(s->balancer, i, server);
                }
                snprintf(url, sizeof(url), "ws://127.0.0.1:%u", tcp_proxy_port(s->balancer));
                memset(o.urls, 0, sizeof(o.urls));
                o.urls[0] = url;
        }
        s->crew = crew_start(s->ledger, &o);
}

struct scene *scene_open(const struct scene_options *options)
{
        struct scene *s = calloc(1, sizeof(*s));

        check(s != NULL);
        s->options = *options;
        s->n_nodes = options->n_nodes ? options->n_nodes : 2;
        check(s->n_nodes <= SCENE_NODES_MAX);
        s->ledger = ledger_create();
        start_redis(s);
        for (unsigned i = 0; i < s->n_nodes; i++)
                scene_start_node(s, i);
        create_event(&s->nodes[0], "final");
        change(&s->nodes[0], "POST", "/v1/events/final/start", "{}");
        if (!options->no_crew)
                start_crew(s);
        if (options->pace_ms) {
                struct producer_options o = { .event = "final",
                                              .pace_ms = options->pace_ms,
                                              .no_retry = options->producer_no_retry };

                for (unsigned i = 0; i < s->n_nodes; i++)
                        o.nodes[i] = &s->nodes[i];
                s->producer = producer_start(s->ledger, &o);
        }
        return s;
}

/* --- the end --- */

double scene_longest_pause_ms(const struct scene *s, uint64_t from_us)
{
        uint64_t longest_us = 0, last_us = from_us;

        for (size_t i = 0; i < ledger_count(s->ledger); i++) {
                const struct ledger_line *line = ledger_at(s->ledger, i);

                if (line->kind != LEDGER_ANSWERED || line->status / 100 != 2 ||
                    line->at_us < from_us)
                        continue;
                if (line->at_us > last_us && line->at_us - last_us > longest_us)
                        longest_us = line->at_us - last_us;
                last_us = line->at_us;
        }
        return (double)longest_us / 1000.0;
}

/* What a poller is told at this node's door; message_fini is the caller's. */
static struct message ask_state(const struct test_node *node)
{
        struct http_answer answer;
        struct http_ask question = { .method = "GET" };
        struct message message;
        char url[96];

        snprintf(url, sizeof(url), "http://127.0.0.1:%u/v1/events", node->port);
        question.url = url;
        if (http_client_ask(&question, &answer) != OK || answer.status != 200)
                give_up("no answer to GET %s", url);
        if (message_decode(answer.body, answer.body_len, ENCODING_JSON, &message) != OK ||
            message.type != MESSAGE_RESET)
                give_up("GET /v1/events is not a reset: %s", answer.body);
        http_answer_fini(&answer);
        return message;
}

struct arrival {
        const struct test_node *node;
        const struct token *token;
};

static bool has_arrived(void *arg)
{
        const struct arrival *arrival = arg;
        struct message message = ask_state(arrival->node);
        bool there = token_equal(&message.reset.token, arrival->token);

        message_fini(&message);
        return there;
}

static void read_truth(struct scene *s, const struct test_node *node, const char *name,
                       const struct token *last)
{
        struct ledger_line line = { .kind = LEDGER_TRUTH };
        struct message message;

        wait_until(has_arrived, &(struct arrival){ node, last },
                   "every node to have the last change");
        message = ask_state(node);
        snprintf(line.name, sizeof(line.name), "%s", name);
        line.token = message.reset.token;
        line.events = message.reset.events;
        line.n_events = message.reset.n;
        ledger_add(s->ledger, &line);
        message_fini(&message);
}

static bool begins_with_id(const char *text)
{
        size_t digits = strspn(text, "0123456789");

        return *text == '\0' || (digits > 0 && strncmp(text + digits, "-0\n", 3) == 0);
}

/* An entry as XRANGE shows it: its id, then names and values, one line each. */
static void read_entry(struct scene *s, uint64_t epoch, char *id, char **rest)
{
        struct event_state state = { 0 };
        struct ledger_line line = { .kind = LEDGER_LOG, .events = &state, .n_events = 1 };
        char *name, *value;

        strcpy(line.name, "log");
        line.token.epoch = epoch;
        line.token.seq = strtoull(id, NULL, 10);
        while (*rest && !begins_with_id(*rest)) {
                name = strsep(rest, "\n");
                value = strsep(rest, "\n");
                if (!name || !value)
                        give_up("the log in Redis is not what it should be");
                if (strcmp(name, "tag") == 0 &&
                    token_parse_hex(value, strlen(value), &line.token.tag) != OK)
                        give_up("not a tag in the log: %s", value);
                if (strcmp(name, "body") == 0) {
                        json_t *body = json_loads(value, 0, NULL);
                        const char *kind = json_string_value(json_object_get(body, "kind"));
                        const char *stage = json_string_value(json_object_get(body, "stage"));
                        const char *event = json_string_value(json_object_get(body, "event"));

                        for (unsigned k = 0; kind && k < SIGNAL_KINDS; k++)
                                if (strcmp(kind, signal_kind_name[k]) == 0)
                                        line.signal_kind = (enum signal_kind)k;
                        snprintf(state.stage, sizeof(state.stage), "%s", stage ? stage : "");
                        snprintf(state.event, sizeof(state.event), "%s", event ? event : "");
                        json_decref(body);
                }
        }
        ledger_add(s->ledger, &line);
}

static void read_log(struct scene *s)
{
        char *epoch_text = test_redis_ask(s->redis, "HGET", "{kickoff}:meta", "epoch", NULL);
        char *text = test_redis_ask(s->redis, "XRANGE", "{kickoff}:log", "-", "+", NULL);
        char *rest = text, *id;
        uint64_t epoch;

        if (token_parse_hex(epoch_text, strlen(epoch_text), &epoch) != OK)
                give_up("no epoch in Redis: %s", epoch_text);
        while ((id = strsep(&rest, "\n")) != NULL && *id)
                read_entry(s, epoch, id, &rest);
        free(text);
        free(epoch_text);
}

static void count_figures(struct scene *s)
{
        struct checker_counts counts = checker_count(s->ledger);

        figure("acknowledged", "%u", counts.acknowledged);
        if (counts.unknown)
                figure("unknown", "%u", counts.unknown);
        if (counts.refused)
                figure("refused", "%u", counts.refused);
        if (s->crew) {
                figure("received", "%u signals, %u resets, %u devices", counts.signals,
                       counts.resets, counts.devices);
                figure("lag", "p50 %.1f, p99 %.1f, max %.1f ms", ledger_lag_ms(s->ledger, 50),
                       ledger_lag_ms(s->ledger, 99), ledger_lag_ms(s->ledger, 100));
        }
}

void scene_judge(struct scene *s)
{
        struct findings findings;
        struct produced last;
        const char *dir = getenv("TMPDIR");
        char path[256];

        producer_stop(s->producer);
        s->producer = NULL;
        last = produce_until(s->ledger, &s->nodes[0], "final");
        if (s->crew && !crew_reaches(s->crew, &last.token, PATIENCE_MS))
                broken("line 5: not every device reached the last change within %d s",
                       PATIENCE_MS / 1000);
        for (unsigned i = 0; i < s->n_nodes; i++)
                if (s->nodes[i].pid)
                        read_truth(s, &s->nodes[i], "node", &last.token);
        read_log(s);
        snprintf(path, sizeof(path), "%s/ledger", dir ? dir : "/tmp");
        ledger_write(s->ledger, path);
        checker_judge(s->ledger, &s->options.rules, &findings);
        for (unsigned i = 0; i < findings.n && i < FINDINGS_MAX; i++)
                broken("%s", findings.text[i]);
        if (findings.n > FINDINGS_MAX)
                broken("... and %u more", findings.n - FINDINGS_MAX);
        count_figures(s);
        s->is_judged = true;
}

void scene_close(struct scene *s)
{
        if (!s->is_judged)
                scene_judge(s);
        crew_end(s->crew);
        for (unsigned i = 0; i < s->n_nodes; i++)
                if (s->nodes[i].pid)
                        node_end(&s->nodes[i]);
        tcp_proxy_destroy(s->balancer);
        tcp_proxy_destroy(s->to_redis);
        for (unsigned i = 0; i < countof(s->doors); i++)
                tcp_proxy_destroy(s->doors[i]);
        if (!s->options.redis)
                test_redis_destroy(s->redis);
        netns_destroy(s->space);
        ledger_destroy(s->ledger);
        free(s);
}
