/* base/redis_dns.c -- decides how long a resolver is waited for, and what stands in for its answer.
 * Not libevent's evdns: that reads resolv.conf and the hosts file only, so a name that "getent
 * hosts" finds by way of another service (mDNS, systemd-resolved, LDAP) would be unknown to Kickoff
 * alone. */
#include "base/redis_dns.h"

#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/redis.h"

#define THREADS_MAX 8
#define STACK_BYTES (512 * 1024)          /* nsswitch modules are hungry */
#define KNOWN_MAX   (REDIS_HOSTS_MAX + 4) /* hosts of the URL, and what they pointed to last */
#define SILENT_WITH_KNOWN_MS                                                                     \
        500 /* so long at most, and half of the time there is, is asked for news of a known name \
             */

struct known { /* the address that worked last */
        char host[256];
        struct sockaddr_storage address;
        socklen_t len;
};

struct redis_dns {
        struct event_base *base;
        struct known known[KNOWN_MAX];
        unsigned next; /* the oldest one's place */
};

struct job { /* shared by the loop and the thread; the last one frees */
        atomic_int users;
        redis_resolver_fn *resolver;
        int done_fd; /* eventfd, written by the thread after `error` and `found` */
        char host[256], port[8];
        int error;
        struct redis_addresses found;
};

struct redis_lookup {
        struct redis_dns *dns;
        redis_lookup_fn *done;
        void *owner;
        struct event
            *event; /* readable: the thread is done. Or the deadline. Or, without a job, at once */
        struct job *job; /* NULL: `found` or `why` is there from the start */
        char host[256];
        uint16_t port;
        struct redis_addresses found;
        const char *why;
};

static _Atomic(redis_resolver_fn *) test_resolver;
static atomic_int threads;

void redis_dns_set_resolver(redis_resolver_fn *resolver)
{
        atomic_store(&test_resolver, resolver);
}

/* --- on the thread ------------------------------------------------------------------------- */

static void unref(struct job *job)
{
        if (atomic_fetch_sub(&job->users, 1) > 1)
                return;
        close(job->done_fd);
        free(job);
}

static int resolve(redis_resolver_fn *resolver, const char *host, const char *port, int flags,
                   struct redis_addresses *ret_found)
{
        const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags };
        struct addrinfo *list = NULL;
        struct redis_addresses found = { 0 };
        int error = resolver(host, port, &hints, &list);

        if (error != 0)
                return error;
        for (const struct addrinfo *at = list; at != NULL && found.n < REDIS_ADDRESSES_MAX;
             at = at->ai_next) {
                memcpy(&found.address[found.n], at->ai_addr, at->ai_addrlen);
                found.len[found.n++] = at->ai_addrlen;
        }
        freeaddrinfo(list);
        if (found.n == 0)
                return EAI_NONAME;
        *ret_found = found;
        return 0;
}

static void *run(void *arg)
{
        struct job *job = arg;
        const uint64_t one = 1;

        job->error = resolve(job->resolver, job->host, job->port, 0, &job->found);
        if (write(job->done_fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
                check(false); /* an eventfd takes a 1 */
        unref(job);
        atomic_fetch_sub(&threads, 1);
        return NULL;
}

static bool start_thread(struct job *job)
{
        pthread_attr_t attributes;
        sigset_t all, before;
        pthread_t thread;
        bool started;

        if (atomic_fetch_add(&threads, 1) >= THREADS_MAX || pthread_attr_init(&attributes) != 0) {
                atomic_fetch_sub(&threads, 1);
                return false;
        }
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&attributes, STACK_BYTES);
        atomic_fetch_add(&job->users, 1);
        sigfillset(&all); /* signals are the loop's */
        pthread_sigmask(SIG_SETMASK, &all, &before);
        started = pthread_create(&thread, &attributes, run, job) == 0;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attributes);
        if (!started) {
                atomic_fetch_sub(&threads, 1);
                atomic_fetch_sub(&job->users, 1);
        }
        return started;
}

/* --- what worked --------------------------------------------------------------------------- */

static struct known *find_known(struct redis_dns *dns, const char *host)
{
        for (unsigned i = 0; i < KNOWN_MAX; i++) {
                if (strcmp(dns->known[i].host, host) == 0)
                        return &dns->known[i];
        }
        return NULL;
}

void redis_dns_worked(struct redis_dns *dns, const char *host,
                      const struct sockaddr_storage *address, socklen_t len)
{
        struct known *known = find_known(dns, host);

        if (known == NULL) {
                known = &dns->known[dns->next++ % KNOWN_MAX];
                snprintf(known->host, sizeof(known->host), "%s", host);
        }
        known->address = *address;
        known->len = len;
}

static bool use_known(struct redis_lookup *lookup)
{
        const struct known *known = find_known(lookup->dns, lookup->host);

        if (known == NULL)
                return false;
        lookup->found.n = 1;
        lookup->found.address[0] = known->address;
        lookup->found.len[0] = known->len;
        if (known->address.ss_family == AF_INET6)
                ((struct sockaddr_in6 *)&lookup->found.address[0])->sin6_port = htons(lookup->port);
        else
                ((struct sockaddr_in *)&lookup->found.address[0])->sin_port = htons(lookup->port);
        return true;
}

/* --- the answer ---------------------------------------------------------------------------- */

void redis_lookup_cancel(struct redis_lookup *lookup)
{
        if (lookup == NULL)
                return;
        event_free(lookup->event);
        if (lookup->job != NULL)
                unref(lookup->job);
        free(lookup);
}

static void on_answer(evutil_socket_t fd, short what, void *arg)
{
        struct redis_lookup *lookup = arg;
        struct redis_lookup last = *lookup; /* it is gone before its owner hears */
        char why[400];
        int error = EAI_AGAIN;

        (void)fd;
        why[0] = '\0';
        if (lookup->job != NULL) {
                uint64_t count;
                bool answered = (what & EV_READ) != 0 &&
                                read(lookup->job->done_fd, &count, sizeof(count)) == sizeof(count);

                if (answered)
                        error = lookup->job->error;
                if (answered && error == 0)
                        last.found = lookup->job->found;
                else if (error == EAI_NONAME || !use_known(&last))
                        snprintf(why, sizeof(why), "the name %.255s: %s", lookup->host,
                                 answered ? gai_strerror(error)
                                          : "the resolver did not answer in time");
        } else if (lookup->why != NULL && !use_known(&last)) {
                snprintf(why, sizeof(why), "%s", lookup->why);
        }
        redis_lookup_cancel(lookup);
        last.done(last.owner, why[0] == '\0' ? &last.found : NULL, why);
}

/* --- the question -------------------------------------------------------------------------- */

static struct job *create_job(const struct redis_lookup *lookup)
{
        redis_resolver_fn *resolver = atomic_load(&test_resolver);
        struct job *job = calloc(1, sizeof(*job));

        if (job == NULL)
                return NULL;
        atomic_init(&job->users, 1);
        job->resolver = resolver != NULL ? resolver : getaddrinfo;
        memcpy(job->host, lookup->host, sizeof(job->host));
        snprintf(job->port, sizeof(job->port), "%u", lookup->port);
        job->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (job->done_fd >= 0 && start_thread(job))
                return job;
        if (job->done_fd >= 0)
                close(job->done_fd);
        free(job);
        return NULL;
}

enum err redis_dns_ask(struct redis_dns *dns, const char *host, uint16_t port, unsigned timeout_ms,
                       redis_lookup_fn *done, void *owner, struct redis_lookup **ret_lookup)
{
        struct redis_lookup *lookup = calloc(1, sizeof(*lookup));
        struct timeval wait = { 0, 0 };
        char port_text[8];

        if (lookup == NULL)
                return ERR_NOMEM;
        lookup->dns = dns;
        lookup->done = done;
        lookup->owner = owner;
        lookup->port = port;
        snprintf(lookup->host, sizeof(lookup->host), "%s", host);
        snprintf(port_text, sizeof(port_text), "%u", port);
        if (resolve(getaddrinfo, host, port_text, AI_NUMERICHOST, &lookup->found) != 0) {
                lookup->job = create_job(lookup);
                if (lookup->job == NULL)
                        lookup->why = "the resolver does not answer";
                if (find_known(dns, host) != NULL)
                        timeout_ms = timeout_ms / 2 < SILENT_WITH_KNOWN_MS ? timeout_ms / 2
                                                                           : SILENT_WITH_KNOWN_MS;
                if (lookup->job != NULL)
                        wait = (struct timeval){ timeout_ms / 1000, timeout_ms % 1000 * 1000 };
        }
        lookup->event = event_new(dns->base, lookup->job != NULL ? lookup->job->done_fd : -1,
                                  lookup->job != NULL ? EV_READ : 0, on_answer, lookup);
        if (lookup->event == NULL || event_add(lookup->event, &wait) != 0) {
                if (lookup->event != NULL)
                        event_free(lookup->event);
                if (lookup->job != NULL)
                        unref(lookup->job);
                free(lookup);
                return ERR_NOMEM;
        }
        *ret_lookup = lookup;
        return OK;
}

enum err redis_dns_create(struct event_base *base, struct redis_dns **ret_dns)
{
        struct redis_dns *dns = calloc(1, sizeof(*dns));

        if (dns == NULL)
                return ERR_NOMEM;
        dns->base = base;
        *ret_dns = dns;
        return OK;
}

void redis_dns_destroy(struct redis_dns *dns)
{
        free(dns);
}
