/* tests/faults/fleet.c -- see the header. */
#include "tests/faults/fleet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/integration/harness.h"

static struct test_redis_options place(struct netns *space)
{
        struct test_redis_options o = { .host = "127.0.0.1" };

        if (space) {
                o.host = netns_address(space);
                o.in_child = netns_enter;
                o.arg = space;
        }
        return o;
}

static void add_address(char url[200], const char *host, unsigned port)
{
        size_t len = strlen(url);

        snprintf(url + len, 200 - len, "%s%s:%u", url[len - 1] == '/' ? "" : ",", host, port);
}

static void start_sentinels(struct fleet *fleet)
{
        for (unsigned i = 0; i < FLEET_SENTINELS; i++) {
                struct netns *space = fleet->space[i == 0 ? 0 : fleet->n];
                struct test_sentinel_options o = { .name = "main",
                                                   .primary_host = fleet->host[0],
                                                   .primary_port =
                                                       test_redis_port(fleet->server[0]),
                                                   .down_after_ms = FLEET_DOWN_AFTER_MS,
                                                   /* A split vote costs twice this. */
                                                   .failover_timeout_ms = 1500 };

                if (space) {
                        o.host = netns_address(space);
                        o.in_child = netns_enter;
                        o.arg = space;
                }
                fleet->sentinel[i] = test_sentinel_start(&o);
                add_address(fleet->sentinels_url, o.host ? o.host : "127.0.0.1",
                            test_redis_port(fleet->sentinel[i]));
        }
        for (unsigned i = 0; i < FLEET_SENTINELS; i++)
                test_sentinel_until(fleet->sentinel[i], "main", FLEET_SENTINELS - 1, fleet->n - 1);
        strcat(fleet->sentinels_url, "/main");
}

void fleet_open(struct fleet *fleet, const struct fleet_options *options)
{
        const char *least = options->min_replicas ? options->min_replicas : "0";

        *fleet = (struct fleet){ .n = 1 + (options->n_replicas ? options->n_replicas : 1) };
        check(fleet->n <= FLEET_SERVERS_MAX);
        strcpy(fleet->sentinels_url, "sentinel://");
        strcpy(fleet->servers_url, "redis://");
        for (unsigned i = 0; options->in_spaces && i <= fleet->n; i++)
                fleet->space[i] = netns_create(i + 1);
        for (unsigned i = 0; i < fleet->n; i++) {
                struct test_redis_options o = place(fleet->space[i]);

                strcpy(fleet->host[i], o.host);
                /* Replicas need not gather for five seconds. */
                fleet->server[i] = test_redis_start_as(
                    &o, "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1",
                    "--min-replicas-to-write", least, "--min-replicas-max-lag", "2", NULL);
                add_address(fleet->servers_url, o.host, test_redis_port(fleet->server[i]));
                if (i > 0)
                        test_redis_follow(fleet->server[i], fleet->host[0],
                                          test_redis_port(fleet->server[0]));
        }
        if (!options->no_sentinels)
                start_sentinels(fleet);
}

void fleet_end(struct fleet *fleet)
{
        for (unsigned i = 0; i < FLEET_SENTINELS; i++)
                test_redis_destroy(fleet->sentinel[i]);
        for (unsigned i = 0; i < fleet->n; i++)
                test_redis_destroy(fleet->server[i]);
        for (unsigned i = 0; i <= fleet->n; i++)
                netns_destroy(fleet->space[i]);
}

struct saying {
        struct test_redis *redis;
        const char *text;
};

static bool says(void *arg)
{
        const struct saying *saying = arg;
        char *info = test_redis_ask(saying->redis, "INFO", "replication", NULL);
        bool yes = strstr(info, saying->text) != NULL;

        free(info);
        return yes;
}

void fleet_until_says(struct test_redis *redis, const char *text)
{
        wait_until(says, &(struct saying){ redis, text }, text);
}

void fleet_until_follows(struct test_redis *redis)
{
        fleet_until_says(redis, "role:slave");
        fleet_until_says(redis, "master_link_status:up");
}

struct pair {
        struct test_redis *primary, *replica;
};

static bool are_same(void *arg)
{
        const struct pair *pair = arg;
        char *here = test_redis_ask(pair->primary, "HGET", "{kickoff}:meta", "tag", NULL);
        char *there = test_redis_ask(pair->replica, "HGET", "{kickoff}:meta", "tag", NULL);
        bool same = strcmp(here, there) == 0;

        free(here);
        free(there);
        return same;
}

void fleet_until_same(struct test_redis *primary, struct test_redis *replica)
{
        wait_until(are_same, &(struct pair){ primary, replica }, "a replica to have all");
}

struct successor {
        struct fleet *fleet;
        struct test_redis *is;
};

static bool has_successor(void *arg)
{
        struct successor *successor = arg;
        struct fleet *fleet = successor->fleet;
        char *named = test_sentinel_primary(fleet->sentinel[FLEET_SENTINELS - 1], "main"), want[64];

        for (unsigned i = 1; i < fleet->n; i++) {
                snprintf(want, sizeof(want), "%s:%u", fleet->host[i],
                         test_redis_port(fleet->server[i]));
                if (strcmp(named, want) == 0 &&
                    says(&(struct saying){ fleet->server[i], "role:master" }))
                        successor->is = fleet->server[i];
        }
        free(named);
        return successor->is != NULL;
}

struct test_redis *fleet_until_failed_over(struct fleet *fleet)
{
        struct successor successor = { .fleet = fleet };

        wait_until(has_successor, &successor, "the sentinels to name another primary");
        return successor.is;
}
