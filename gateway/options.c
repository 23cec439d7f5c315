/* gateway/options.c -- kickoffd's option table. Each option is documented here and nowhere else:
 * --help and the manual are made from the rows. */
#include "gateway/options.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "gateway/lifetime.h"
#include "gateway/listener.h"
#include "prefetch/window.h"
#include "proto/names.h"

#define DEVICES_PER_NODE_MAX 1000000

static struct {
        const char *listen, *admin, *redis, *data, *name, *ns, *durability, *token_file, *origin,
            *proxies;
        const char *io, *registry;
        int64_t workers, max_devices, ping_ms, dead_after_ms, lifetime_ms, guard_ms, drain_ms, ack_spread_ms,
                prefetch_rate;
        int64_t max_handshakes, max_per_address, admit_rate;
} raw;

static const struct option table[] = {
        { "listen", OPTION_TEXT, &raw.listen, "0.0.0.0:8080", 0, 0, "HOST:PORT",
          "Where devices connect.", NULL },
        { "admin", OPTION_TEXT, &raw.admin, "127.0.0.1:9090", 0, 0, "HOST:PORT",
          "Where producers and operators connect; `none`: this node cannot append. Any address but "
          "loopback needs --admin-token-file.",
          NULL },
        { "redis", OPTION_TEXT, &raw.redis, NULL, 0, 0, "URL",
          "The Redis that nodes share: redis://[user:password@]host[:port][,..][/db], rediss://.. for TLS, "
          "sentinel://host,host/name or unix:///path. Without it the node runs a private redis-server in "
          "--data.",
          NULL },
        { "data", OPTION_TEXT, &raw.data, "kickoff-data", 0, 0, "DIR",
          "Where the private redis-server keeps the log; made if it is not there.", NULL },
        { "workers", OPTION_NUMBER, &raw.workers, "0", 0, 256, "N",
          "Threads that serve devices; 0 = one per processor.", NULL },
        { "name", OPTION_TEXT, &raw.name, NULL, 0, 0, "NODE",
          "This node's name in hello, metrics and lists; default: host name and device port (process id with port 0).",
          NULL },
        { "namespace", OPTION_TEXT, &raw.ns, "kickoff", 0, 0, "NAME",
          "Prefix of all names in Redis, so that several fleets can share one.", NULL },
        { "durability", OPTION_TEXT, &raw.durability, "fsync", 0, 0, "MODE",
          "What a 2xx answer promises: `memory` (nothing), `fsync` (on the primary's disk) or "
          "`replicated[:N]` (and held by N replicas, 1 if none is given, before any device sees it). All "
          "nodes of a fleet the same.",
          NULL },
        { "admin-token-file", OPTION_TEXT, &raw.token_file, NULL, 0, 0, "FILE",
          "File whose first line is the bearer token that producers must present.", NULL },
        { "max-devices", OPTION_NUMBER, &raw.max_devices, "0", 0, DEVICES_PER_NODE_MAX, "N",
          "Devices this node holds at most, the rest gets 503 with Retry-After; 0 = as many as its "
          "descriptors allow.",
          NULL },
        { "ping", OPTION_DURATION, &raw.ping_ms, "50s", 1000, 3600 * 1000, "TIME",
          "How often a silent device is pinged.", NULL },
        { "dead-after", OPTION_DURATION, &raw.dead_after_ms, "45s", LISTENER_DEAD_AFTER_MIN_MS,
          LISTENER_DEAD_AFTER_MAX_MS, "TIME",
          "A device that vanished without a word is freed within this. The network asks an idle one at a "
          "quarter of it: more for phones, whose radio each question wakes.",
          NULL },
        { "lifetime", OPTION_DURATION, &raw.lifetime_ms, "30m", 10 * 1000, 24 * 3600 * 1000, "TIME",
          "How long a session lasts before the device is asked to reconnect, less a random tenth.",
          NULL },
        { "guard", OPTION_DURATION, &raw.guard_ms, "5m", 0, LIFETIME_GUARD_MAX_MS, "TIME",
          "Around a planned start, before and after, no session is ended for its age; it lives on until "
          "then, for another lifetime at most. 0 = off.",
          NULL },
        { "drain", OPTION_DURATION, &raw.drain_ms, "30s", 2000, 3600 * 1000, "TIME",
          "How long the node takes at most to send its devices away when it is told to end (TERM, INT).",
          NULL },
        { "ack-spread", OPTION_DURATION, &raw.ack_spread_ms, "2s", 0, 600 * 1000, "TIME",
          "Span over which devices spread their acks of one signal.", NULL },
        { "prefetch-rate", OPTION_NUMBER, &raw.prefetch_rate, "5000", WINDOW_RATE_MIN, WINDOW_RATE_MAX, "N",
          "Bundle requests per second that devices shall not exceed at this node: they spread their fetches over "
          "(devices / N) seconds, 10 minutes at most. 5000 of 8 KB are a third of a gigabit link and a "
          "twentieth of a core.",
          NULL },
        { "io", OPTION_TEXT, &raw.io, "auto", 0, 0, "HOW",
          "How broadcasts are sent: `uring` (many sends in one system call), `send` (one each), or `auto`: "
          "io_uring where the kernel allows it.",
          NULL },
        { "registry", OPTION_TEXT, &raw.registry, "on", 0, 0, "on|off",
          "Whether Redis is told where each device is. `off`: messages for one device ask all nodes for it, and "
          "a device that connects again at another node stays at the first, too.",
          NULL },
        { "origin", OPTION_TEXT, &raw.origin, NULL, 0, 0, "LIST",
          "Exact web origins that browsers may connect from, separated by commas; default: any.",
          NULL },
        { "proxy-protocol", OPTION_TEXT, &raw.proxies, NULL, 0, 0, "CIDRS",
          "Addresses of TCP load balancers, such as 10.0.0.0/8,2001:db8::/32. They must begin each "
          "connection with a PROXY header (version 1 or 2), whose word is taken for the device's address; "
          "nobody else may.",
          NULL },
        { "max-handshakes", OPTION_NUMBER, &raw.max_handshakes, "16384", ADMISSION_HANDSHAKES_MIN,
          1000000, "N",
          "Sockets from which this node awaits a request, at most; then the oldest that has sent nothing "
          "for a second is closed, first those of an address (IPv4, or IPv6 /64) that has more than half. "
          "Each can make the node hold 8 KiB.",
          NULL },
        { "max-per-address", OPTION_NUMBER, &raw.max_per_address, "0", 0, DEVICES_PER_NODE_MAX, "N",
          "Devices of one address (IPv4, or IPv6 /64) that this node holds at most, the rest gets 429 with "
          "Retry-After; 0 = any number, since a carrier's NAT may have thousands behind one. With more "
          "than one worker it is a little more than N.",
          NULL },
        { "admit-rate", OPTION_NUMBER, &raw.admit_rate, "0", 0, 1000000, "N",
          "Devices let in per second at most, the rest gets 503 with Retry-After; the last quarter of what "
          "is free is for devices that resume. 0 = as many as this node can: it measures how many that is, "
          "and sheds newcomers when it falls behind.",
          NULL },
};

static const struct option_program program = {
        .name = "kickoffd",
        .summary =
            "A Kickoff node: holds device connections and tells them all when the event starts.",
        .usage = "kickoffd [OPTION]...",
        .epilogue =
            "Examples:\n"
            "  kickoffd                                      one node with its own Redis\n"
            "  kickoffd --redis redis://10.0.0.5 --name a1   one node of a fleet\n"
            "\n"
            "Signals: INT and TERM end the node cleanly; devices are told to come back elsewhere.\n"
            "Logs go to stderr, one line each; KICKOFF_LOG=debug|info|warn|error sets how many.\n",
        .options = table,
        .n = countof(table),
        .section = 8, /* a daemon */
};

static bool wrong(const char *option, const char *why)
{
        fprintf(stderr, "kickoffd: --%s: %s\n", option, why);
        return false;
}

static bool parse_endpoint(const char *option, const char *text, struct endpoint *ret)
{
        const char *colon = strrchr(text, ':');
        size_t len = colon ? (size_t)(colon - text) : 0;
        unsigned char address[16];
        char *end;
        long port;

        if (!colon || len == 0 || len >= sizeof(ret->host) + 2)
                return wrong(option, "give HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080");
        if (text[0] == '[' && colon[-1] == ']') {
                text++;
                len -= 2;
        }
        if (len >= sizeof(ret->host))
                return wrong(option, "the address is too long");
        memcpy(ret->host, text, len);
        ret->host[len] = '\0';
        if (strcmp(ret->host, "localhost") == 0)
                strcpy(ret->host, "127.0.0.1");
        if (inet_pton(AF_INET, ret->host, address) != 1 &&
            inet_pton(AF_INET6, ret->host, address) != 1)
                return wrong(option, "give a numeric address (0.0.0.0 = all), not a name");
        errno = 0;
        port = strtol(colon + 1, &end, 10);
        if (errno || *end || end == colon + 1 || port < 0 || port > 65535 ||
            !isdigit((unsigned char)colon[1]))
                return wrong(option, "the port is a number from 0 (any free one) to 65535");
        ret->port = (uint16_t)port;
        return true;
}

static bool is_loopback(const struct endpoint *endpoint)
{
        return strncmp(endpoint->host, "127.", 4) == 0 || strcmp(endpoint->host, "::1") == 0;
}

static bool read_token(struct options *o)
{
        FILE *file = fopen(raw.token_file, "r");
        size_t len;

        if (!file) {
                fprintf(stderr, "kickoffd: --admin-token-file: cannot read %s: %s\n",
                        raw.token_file, strerror(errno));
                return false;
        }
        if (!fgets(o->admin_token, sizeof(o->admin_token), file))
                o->admin_token[0] = '\0';
        fclose(file);
        len = strcspn(o->admin_token, "\r\n");
        o->admin_token[len] = '\0';
        if (len < ADMIN_TOKEN_MIN || len >= ADMIN_TOKEN_MAX)
                return wrong("admin-token-file",
                             "the token is 16 to 255 characters on the first line; make one with: "
                             "openssl rand -hex 32");
        return true;
}

static bool take_admin(struct options *o)
{
        o->has_admin = strcmp(raw.admin, "none") != 0;
        if (o->has_admin && !parse_endpoint("admin", raw.admin, &o->admin))
                return false;
        if (raw.token_file && !read_token(o))
                return false;
        if (o->has_admin && !is_loopback(&o->admin) && o->admin_token[0] == '\0')
                return wrong("admin",
                             "an address other than loopback needs --admin-token-file FILE");
        return true;
}

static bool take_redis(struct options *o)
{
        const char *why = NULL;

        o->embedded = raw.redis == NULL;
        if (!o->embedded && redis_parse_url(raw.redis, &o->redis, &why) != OK)
                return wrong("redis", why);
        if (durability_parse(raw.durability, &o->durability, &why) != OK)
                return wrong("durability", why);
        if (o->embedded && o->durability.mode == DURABILITY_REPLICATED)
                return wrong("durability",
                             "the private redis-server has no replicas: give --redis URL "
                             "of one that has, or use fsync");
        return true;
}

static bool take_names(struct options *o)
{
        char host[256] = "node";

        if (!name_is_valid(raw.ns, strlen(raw.ns), NAMESPACE_MAX))
                return wrong("namespace", "1 to 64 letters, digits or . _ : ~ -");
        o->ns = raw.ns;
        if (raw.name) {
                if (!name_is_valid(raw.name, strlen(raw.name), NODE_NAME_MAX))
                        return wrong("name", "1 to 64 letters, digits or . _ : ~ -");
                strcpy(o->name, raw.name);
                return true;
        }
        gethostname(host, sizeof(host) - 1);
        /* With port 0 the port is not known yet; the process id tells nodes of one host apart as
         * well. */
        snprintf(o->name, sizeof(o->name), "%.50s:%u",
                 name_is_valid(host, strlen(host), NODE_NAME_MAX) ? host : "node",
                 o->listen.port ? (unsigned)o->listen.port : (unsigned)getpid());
        return true;
}

static bool take_origins(struct options *o)
{
        char *rest, *one;

        if (!raw.origin)
                return true;
        o->origins_text = rest = strdup(raw.origin);
        if (!rest)
                return wrong("origin", "out of memory");
        while ((one = strsep(&rest, ",")) != NULL) {
                if (strncmp(one, "http://", 7) != 0 && strncmp(one, "https://", 8) != 0)
                        return wrong("origin",
                                     "give scheme and host, such as https://tv.example.com");
                if (o->n_origins == ORIGINS_MAX)
                        return wrong("origin", "at most 64 origins");
                o->origins[o->n_origins++] = one;
        }
        return true;
}

static bool take_io(struct options *o)
{
        static const char *const names[] = {
                [SENDER_AUTO] = "auto", [SENDER_URING] = "uring", [SENDER_SEND] = "send"
        };

        for (unsigned i = 0; i < countof(names); i++) {
                if (strcmp(raw.io, names[i]) != 0)
                        continue;
                o->io = (enum sender_io)i;
                return true;
        }
        return wrong("io", "give auto, uring or send");
}

static bool take_registry(struct options *o)
{
        o->uses_registry = strcmp(raw.registry, "on") == 0;
        return o->uses_registry || strcmp(raw.registry, "off") == 0 ||
               wrong("registry", "give on or off");
}

static bool take_admission(struct options *o)
{
        const char *why;

        if (raw.proxies && address_ranges_parse(raw.proxies, &o->proxies, &why) != OK)
                return wrong("proxy-protocol", why);
        o->admission = (struct admission_limits){ .handshakes = (uint32_t)raw.max_handshakes,
                                                  .per_address = (uint32_t)raw.max_per_address,
                                                  .rate = (uint32_t)raw.admit_rate };
        return true;
}

enum option_result options_parse(int argc, char **argv, struct options *ret_options)
{
        struct options o = { 0 };
        int first = argc;
        enum option_result result = option_parse(&program, argc, argv, false, &first);
        long processors = sysconf(_SC_NPROCESSORS_ONLN);

        if (result != OPTION_RUN)
                return result;
        if (first < argc) {
                fprintf(stderr,
                        "kickoffd: unexpected argument '%s'; options begin with --, see --help\n",
                        argv[first]);
                return OPTION_WRONG;
        }
        if (!parse_endpoint("listen", raw.listen, &o.listen) || !take_admin(&o) ||
            !take_redis(&o) || !take_io(&o) || !take_registry(&o) || !take_names(&o) || !take_origins(&o) ||
            !take_admission(&o)) {
                options_fini(&o);
                return OPTION_WRONG;
        }
        o.data = raw.data;
        o.workers = raw.workers ? (unsigned)raw.workers : processors > 0 ? (unsigned)processors : 1;
        o.max_devices = (uint64_t)raw.max_devices;
        o.ping_ms = (uint32_t)raw.ping_ms;
        o.lifetime_ms = (uint32_t)raw.lifetime_ms;
        o.dead_after_ms = (uint32_t)raw.dead_after_ms;
        o.guard_ms = (uint32_t)raw.guard_ms;
        o.drain_ms = (uint32_t)raw.drain_ms;
        o.ack_spread_ms = (uint32_t)raw.ack_spread_ms;
        o.prefetch_rate = (uint32_t)raw.prefetch_rate;
        *ret_options = o;
        return OPTION_RUN;
}

void options_fini(struct options *options)
{
        free(options->origins_text);
        options->origins_text = NULL;
        explicit_bzero(options->admin_token, sizeof(options->admin_token));
}
