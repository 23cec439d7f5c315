/* gateway/options.h -- what kickoffd can be told: one table for the command line, the environment and
 * --help, and the checks that need more than one option. Main thread, at start. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/option.h"
#include "base/redis.h"
#include "fanout/durability.h"
#include "gateway/address.h"
#include "gateway/admission.h"
#include "gateway/sender.h"
#include "proto/names.h"

#define ORIGINS_MAX   64
#define ADMIN_TOKEN_MAX 256 /* characters */
#define ADMIN_TOKEN_MIN 16

struct endpoint { /* "host:port"; host may be an IPv6 address in brackets */
        char host[64];
        uint16_t port; /* 0 = any free one */
};

struct options {
        struct endpoint listen;
        bool has_admin; /* false: --admin none, this node cannot append */
        struct endpoint admin;
        bool embedded; /* no --redis: a private redis-server in data */
        struct redis_address redis;
        const char *data;
        unsigned workers;
        char name[NODE_NAME_MAX + 1];
        const char *ns;
        struct durability durability;
        char admin_token[ADMIN_TOKEN_MAX + 1]; /* empty = none */
        uint64_t max_devices;
        enum sender_io io;
        bool uses_registry; /* where each device is, in Redis */
        uint32_t ping_ms, dead_after_ms, lifetime_ms, guard_ms, drain_ms, ack_spread_ms;
        uint32_t prefetch_rate; /* of the node, a second */
        const char *origins[ORIGINS_MAX];
        unsigned n_origins;
        struct address_ranges proxies; /* who speaks PROXY first */
        struct admission_limits admission; /* of the node, not yet divided among its workers */
        char *origins_text; /* what origins point into */
};

/* Fills *ret_options from argv and KICKOFF_...; what is wrong has been said on stderr. */
must_check enum option_result options_parse(int argc, char **argv, struct options *ret_options);
void options_fini(struct options *options);
