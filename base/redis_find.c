/* base/redis_find.c -- decides who is tried next, and which sentinel is believed: the one with the
 * highest config-epoch so far. One that says less was cut off from a failover ("Redis Sentinel
 * specifications", configuration propagation). Only when most of the configured sentinels agree on
 * less (their state was thrown away) does that count. */
#include "base/redis_find.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <event2/event.h>

#include "base/redis_dns.h"
#include "base/redis_sentinel.h"

#define SENTINEL_TIMEOUT_MS 500
#define WATCH_MS            1000

struct redis_find {
        struct event_base *base;
        const struct redis_address *address;
        struct redis_find_events events;
        unsigned timeout_ms;
        struct redis_dns *dns;
        struct redis_lookup *lookup;
        struct redis_question *question;
        struct event *timer; /* searching: deliver `addresses`. Watching: ask the next sentinel */
        unsigned cursor;     /* configured host whose turn it is */
        bool redirected;     /* `next` comes before the configured hosts */
        struct redis_host next;
        struct redis_host host; /* whom `addresses` belong to */
        struct redis_addresses addresses;
        unsigned at;
        char peer[300];
        /* sentinels */
        unsigned asked; /* in this search */
        unsigned older; /* of these: gave an epoch below ours */
        bool believed;  /* one of them */
        struct redis_named newest_older;
        uint64_t epoch; /* of the primary we follow; 0 at first */
        bool watching;
};

static void set_timer(struct redis_find *find, unsigned wait_ms)
{
        const struct timeval wait = { wait_ms / 1000, wait_ms % 1000 * 1000 };

        check(event_add(find->timer, &wait) == 0);
}

/* --- a host and its addresses ---------------------------------------------------------------- */

static void on_addresses(void *owner, const struct redis_addresses *found, const char *why)
{
        struct redis_find *find = owner;
        struct redis_candidate candidate = { .host = find->host.host, .peer = find->peer };

        find->lookup = NULL;
        if (found == NULL) {
                find->events.failed(find->events.owner, why);
                return;
        }
        if (found != &find->addresses) {
                find->addresses = *found;
                find->at = 0;
        }
        candidate.address = find->addresses.address[find->at];
        candidate.len = find->addresses.len[find->at];
        find->events.found(find->events.owner, &candidate);
}

static void search_failed(struct redis_find *find, const char *why)
{
        find->events.failed(find->events.owner, why);
}

/* From the loop or from start(). Out of memory is told by the lookup's silence: the owner's
 * failed() must not run from inside start(), so the timer brings it. */
static void look_up(struct redis_find *find, const struct redis_host *host)
{
        bool v6 = strchr(host->host, ':') != NULL;

        find->host = *host;
        find->addresses.n = 0;
        snprintf(find->peer, sizeof(find->peer), "%s%s%s:%u", v6 ? "[" : "", host->host,
                 v6 ? "]" : "", host->port);
        if (redis_dns_ask(find->dns, host->host, host->port, find->timeout_ms, on_addresses, find,
                          &find->lookup) != OK)
                set_timer(find, 0);
}

static void use_path(struct redis_find *find)
{
        struct sockaddr_un *address = (struct sockaddr_un *)&find->addresses.address[0];

        memset(address, 0, sizeof(*address));
        address->sun_family = AF_UNIX;
        memcpy(address->sun_path, find->address->path, sizeof(address->sun_path));
        find->addresses.len[0] = sizeof(*address);
        find->addresses.n = 1;
        find->at = 0;
        snprintf(find->peer, sizeof(find->peer), "%s", find->address->path);
        set_timer(find, 0);
}

/* --- sentinels ------------------------------------------------------------------------------- */

static void ask_sentinel(struct redis_find *find, redis_named_fn *done)
{
        const struct redis_host *sentinel = &find->address->hosts[find->cursor];

        if (redis_question_create(find->base, find->dns, sentinel, find->address,
                                  SENTINEL_TIMEOUT_MS, done, find, &find->question) != OK)
                set_timer(find, find->watching ? WATCH_MS : 0);
}

static void next_turn(struct redis_find *find)
{
        find->cursor = (find->cursor + 1) % find->address->n_hosts;
}

static void believe(struct redis_find *find, const struct redis_named *named)
{
        find->epoch = named->epoch;
        find->believed = true;
        look_up(find, &named->primary);
}

static void on_named(void *owner, const struct redis_named *named, const char *why)
{
        struct redis_find *find = owner;
        char stale[400];

        find->question = NULL;
        find->asked++;
        if (named != NULL && named->epoch >= find->epoch) {
                believe(find, named);
                return;
        }
        if (named != NULL) {
                snprintf(
                    stale, sizeof(stale),
                    "sentinel %s:%u is behind: it knows config-epoch %llu, another one knew %llu",
                    find->address->hosts[find->cursor].host,
                    find->address->hosts[find->cursor].port, (unsigned long long)named->epoch,
                    (unsigned long long)find->epoch);
                why = stale;
                if (find->older++ == 0 || named->epoch > find->newest_older.epoch)
                        find->newest_older = *named;
        }
        next_turn(find);
        if (find->asked < find->address->n_hosts)
                ask_sentinel(find, on_named);
        else if (find->older > find->address->n_hosts / 2)
                believe(find, &find->newest_older);
        else
                search_failed(find, why);
}

/* The epoch stays that of the primary we follow. The sentinel that leads a failover shows the new
 * epoch together with the old address for a moment; taking its word would make the others look
 * stale. */
static void on_watched(void *owner, const struct redis_named *named, const char *why)
{
        struct redis_find *find = owner;
        char text[400];

        (void)why; /* a sentinel that is away is no reason to leave a primary that works */
        find->question = NULL;
        next_turn(find);
        if (named == NULL || named->epoch <= find->epoch ||
            (strcmp(named->primary.host, find->host.host) == 0 &&
             named->primary.port == find->host.port)) {
                set_timer(find, WATCH_MS);
                return;
        }
        find->watching = false;
        find->epoch = named->epoch;
        find->next = named->primary;
        find->redirected = true;
        snprintf(text, sizeof(text), "the sentinels name %s:%u as the primary now",
                 named->primary.host, named->primary.port);
        find->events.moved(find->events.owner, text);
}

/* --- the owner's side ------------------------------------------------------------------------ */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
        struct redis_find *find = arg;

        (void)fd;
        (void)what;
        if (find->watching)
                ask_sentinel(find, on_watched);
        else if (find->at < find->addresses.n)
                on_addresses(find, &find->addresses, "");
        else
                search_failed(find, "out of memory");
}

static void stop(struct redis_find *find)
{
        redis_lookup_cancel(find->lookup);
        find->lookup = NULL;
        redis_question_destroy(find->question);
        find->question = NULL;
        event_del(find->timer);
        find->watching = false;
}

void redis_find_start(struct redis_find *find)
{
        stop(find);
        find->asked = find->older = 0;
        find->believed = false;
        if (find->at < find->addresses.n)
                set_timer(find, 0); /* the same host's next address */
        else if (find->redirected)
                look_up(find, &find->next);
        else if (find->address->scheme == REDIS_UNIX)
                use_path(find);
        else if (find->address->scheme == REDIS_SENTINEL)
                ask_sentinel(find, on_named);
        else
                look_up(find, &find->address->hosts[find->cursor]);
}

bool redis_find_give_up(struct redis_find *find)
{
        bool was_redirected = find->redirected;

        stop(find);
        if (find->addresses.n > 0 && ++find->at < find->addresses.n)
                return false;
        redis_find_again(find);
        find->redirected = false;
        if (find->address->scheme == REDIS_UNIX)
                return true;
        /* Sentinels that were asked in vain stay in this order, so that the reason, which the last
         * one gave, stays the same and is told once. */
        if (find->address->scheme == REDIS_SENTINEL && !find->believed)
                return true;
        next_turn(find);
        return was_redirected || find->address->scheme == REDIS_SENTINEL || find->cursor == 0;
}

void redis_find_worked(struct redis_find *find)
{
        if (find->address->scheme != REDIS_UNIX)
                redis_dns_worked(find->dns, find->host.host, &find->addresses.address[find->at],
                                 find->addresses.len[find->at]);
        if (find->address->scheme == REDIS_SENTINEL) {
                find->watching = true;
                set_timer(find, WATCH_MS);
        }
}

void redis_find_again(struct redis_find *find)
{
        stop(find);
        find->addresses.n = find->at = 0;
}

/* "MOVED 3999 127.0.0.1:6381". Without a host it is the one that says so (Redis Cluster
 * specification, "MOVED redirection"; "?" is Redis 7's unknown endpoint). IPv6 comes without
 * brackets. */
bool redis_find_follow(struct redis_find *find, const char *text)
{
        const char *host, *colon;
        char *end;
        unsigned long port;
        size_t len;

        if (strncmp(text, "MOVED ", 6) != 0 || (host = strchr(text + 6, ' ')) == NULL)
                return false;
        host++;
        colon = strrchr(host, ':');
        len = colon != NULL ? (size_t)(colon - host) : 0;
        if (colon == NULL || colon[1] < '0' || colon[1] > '9' || len >= sizeof(find->next.host))
                return false;
        port = strtoul(colon + 1, &end, 10);
        if (*end != '\0' || port == 0 || port > 65535)
                return false;
        if (len == 0 || (len == 1 && *host == '?')) {
                if (find->address->scheme == REDIS_UNIX)
                        return false;
                snprintf(find->next.host, sizeof(find->next.host), "%s", find->host.host);
        } else {
                snprintf(find->next.host, sizeof(find->next.host), "%.*s", (int)len, host);
        }
        find->next.port = (uint16_t)port;
        find->redirected = true;
        return true;
}

enum err redis_find_create(struct event_base *base, const struct redis_address *address,
                           unsigned timeout_ms, const struct redis_find_events *events,
                           struct redis_find **ret_find)
{
        struct redis_find *find = calloc(1, sizeof(*find));

        if (find == NULL)
                return ERR_NOMEM;
        find->base = base;
        find->address = address;
        find->timeout_ms = timeout_ms;
        find->events = *events;
        find->timer = evtimer_new(base, on_timer, find);
        if (find->timer == NULL || redis_dns_create(base, &find->dns) != OK) {
                redis_find_destroy(find);
                return ERR_NOMEM;
        }
        *ret_find = find;
        return OK;
}

void redis_find_destroy(struct redis_find *find)
{
        if (find == NULL)
                return;
        if (find->timer != NULL) {
                stop(find);
                event_free(find->timer);
        }
        redis_dns_destroy(find->dns);
        free(find);
}
