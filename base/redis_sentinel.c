/* base/redis_sentinel.c -- decides when a sentinel has answered: SENTINEL MASTER gives the address
 * together with the config-epoch, in one reply, so the two belong together. */
#include "base/redis_sentinel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/redis_dns.h"
#include "base/redis_greeting.h"
#include "base/redis_wire.h"

struct redis_question {
        struct event_base *base;
        struct redis_dns *dns;
        const struct redis_address *address;
        struct redis_host sentinel;
        redis_named_fn *done;
        void *owner;
        struct event *deadline;
        struct redis_lookup *lookup; /* either this, or ... */
        struct redis_wire *wire;     /* ... that */
        struct redis_addresses addresses;
        unsigned at;      /* of `addresses`: the one being tried */
        bool expect_auth; /* the next reply is AUTH's */
        unsigned timeout_ms;
};

static void try_address(struct redis_question *question);

void redis_question_destroy(struct redis_question *question)
{
        if (question == NULL)
                return;
        redis_lookup_cancel(question->lookup);
        redis_wire_destroy(question->wire);
        if (question->deadline != NULL)
                event_free(question->deadline);
        free(question);
}

static void finish(struct redis_question *question, const struct redis_named *named,
                   const char *why)
{
        redis_named_fn *done = question->done;
        void *owner = question->owner;
        char text[512];

        if (named != NULL)
                redis_dns_worked(question->dns, question->sentinel.host,
                                 &question->addresses.address[question->at],
                                 question->addresses.len[question->at]);
        snprintf(text, sizeof(text), "sentinel %s:%u: %.200s", question->sentinel.host,
                 question->sentinel.port, why);
        redis_question_destroy(question);
        done(owner, named, text);
}

/* --- the answer: a flat list of names and values -------------------------------------------- */

static const char *value_of(const struct redis_reply *reply, const char *name)
{
        for (size_t i = 0; i + 1 < redis_count(reply); i += 2) {
                if (strcmp(redis_text(redis_at(reply, i), NULL), name) == 0)
                        return redis_text(redis_at(reply, i + 1), NULL);
        }
        return "";
}

static bool whole_number(const char *text, uint64_t max, uint64_t *ret_number)
{
        char *end;
        unsigned long long number = strtoull(text, &end, 10);

        if (text[0] < '0' || text[0] > '9' || *end != '\0' || number > max)
                return false;
        *ret_number = number;
        return true;
}

static bool read_named(const struct redis_reply *reply, struct redis_named *ret_named)
{
        struct redis_named named = { 0 };
        const char *host = value_of(reply, "ip");
        uint64_t port;

        if (host[0] == '\0' || strlen(host) >= sizeof(named.primary.host) ||
            !whole_number(value_of(reply, "port"), 65535, &port) ||
            !whole_number(value_of(reply, "config-epoch"), UINT64_MAX, &named.epoch))
                return false;
        snprintf(named.primary.host, sizeof(named.primary.host), "%s", host);
        named.primary.port = (uint16_t)port;
        *ret_named = named;
        return true;
}

static void refused_password(struct redis_question *question, const char *text)
{
        char why[256];

        snprintf(why, sizeof(why), "AUTH: %s",
                 redis_greeting_auth_error(text, question->address->sentinel_password));
        finish(question, NULL, why);
}

static void on_reply(void *owner, const struct redis_reply *reply)
{
        struct redis_question *question = owner;
        struct redis_named named;

        if (redis_type(reply) == REDIS_ERROR && question->expect_auth)
                refused_password(question, redis_text(reply, NULL));
        else if (redis_type(reply) == REDIS_ERROR)
                finish(question, NULL, redis_text(reply, NULL));
        else if (question->expect_auth)
                question->expect_auth = false;
        else if (read_named(reply, &named))
                finish(question, &named, "");
        else
                finish(question, NULL, "its answer to SENTINEL MASTER makes no sense");
}

/* --- the question -------------------------------------------------------------------------- */

static void on_open(void *owner)
{
        struct redis_question *question = owner;
        const char *const auth[] = { "AUTH", question->address->sentinel_password };
        const char *const master[] = { "SENTINEL", "MASTER", question->address->primary };
        enum err err = OK;

        question->expect_auth = question->address->sentinel_password[0] != '\0';
        if (question->expect_auth)
                err = redis_wire_send(question->wire, countof(auth), auth, NULL);
        if (err == OK)
                err = redis_wire_send(question->wire, countof(master), master, NULL);
        if (err != OK)
                finish(question, NULL, "out of memory");
}

static void on_lost(void *owner, const char *why)
{
        struct redis_question *question = owner;

        if (++question->at >= question->addresses.n) {
                finish(question, NULL, why);
                return;
        }
        redis_wire_destroy(question->wire);
        question->wire = NULL;
        try_address(question);
}

static void try_address(struct redis_question *question)
{
        const struct redis_wire_options options = {
                .address = (const struct sockaddr *)&question->addresses.address[question->at],
                .address_len = question->addresses.len[question->at],
                .on_open = on_open,
                .on_reply = on_reply,
                .on_lost = on_lost,
                .owner = question,
        };

        if (redis_wire_create(question->base, &options, &question->wire) != OK)
                finish(question, NULL, "out of memory");
}

static void on_addresses(void *owner, const struct redis_addresses *found, const char *why)
{
        struct redis_question *question = owner;

        question->lookup = NULL;
        if (found == NULL) {
                finish(question, NULL, why);
                return;
        }
        question->addresses = *found;
        try_address(question);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
        struct redis_question *question = arg;
        char why[64];

        (void)fd;
        (void)what;
        snprintf(why, sizeof(why), "no answer within %u ms", question->timeout_ms);
        finish(question, NULL, why);
}

enum err redis_question_create(struct event_base *base, struct redis_dns *dns,
                               const struct redis_host *sentinel,
                               const struct redis_address *address, unsigned timeout_ms,
                               redis_named_fn *done, void *owner,
                               struct redis_question **ret_question)
{
        const struct timeval wait = { timeout_ms / 1000, timeout_ms % 1000 * 1000 };
        struct redis_question *question = calloc(1, sizeof(*question));

        if (question == NULL)
                return ERR_NOMEM;
        question->base = base;
        question->dns = dns;
        question->address = address;
        question->sentinel = *sentinel;
        question->timeout_ms = timeout_ms;
        question->done = done;
        question->owner = owner;
        question->deadline = evtimer_new(base, on_deadline, question);
        if (question->deadline == NULL || event_add(question->deadline, &wait) != 0 ||
            redis_dns_ask(dns, sentinel->host, sentinel->port, timeout_ms, on_addresses, question,
                          &question->lookup) != OK) {
                redis_question_destroy(question);
                return ERR_NOMEM;
        }
        *ret_question = question;
        return OK;
}
