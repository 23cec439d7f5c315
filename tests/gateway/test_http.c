/* What a worker answers to plain HTTP at the device port, over real sockets. The bundle cache is
 * played by this file: its functions stand in for those of prefetch/cache.c at link time. */
#include "tests/gateway/client.h"

#include <stdatomic.h>

#include "prefetch/cache.h"

/* --- the cache, played --------------------------------------------------------------------------
 */

struct cache {
        struct mailbox *mailbox;
        cache_loaded_fn *on_loaded;
        void *owner;
};

struct arrival {
        struct letter letter;
        struct cache *cache;
        void *waiter;
};

static struct bundle_response *bundle;
static _Atomic int forgotten;
static _Atomic(struct arrival *) waiting; /* at most one in these tests */

enum err cache_create(struct loader *loader, struct mailbox *own_mailbox,
                      cache_loaded_fn *on_loaded, void *owner, struct cache **ret_cache)
{
        (void)loader;
        *ret_cache = malloc(sizeof(**ret_cache));
        **ret_cache = (struct cache){ own_mailbox, on_loaded, owner };
        return OK;
}

void cache_destroy(struct cache *cache)
{
        free(atomic_exchange(&waiting, NULL));
        free(cache);
}

enum cache_answer cache_get(struct cache *cache, const struct snapshot *snapshot, const char *event,
                            const char *cohort, void *waiter, uint64_t now_ms,
                            struct bundle_response **ret_response)
{
        static const struct {
                const char *event;
                enum cache_answer answer;
        } table[] = {
                { "hit", CACHE_HIT },         { "unknown", CACHE_UNKNOWN },
                { "not-yet", CACHE_NOT_YET }, { "over", CACHE_OVER },
                { "busy", CACHE_BUSY },       { "no-cohort", CACHE_NO_COHORT },
                { "slow", CACHE_WAITING },
        };

        (void)snapshot;
        (void)now_ms;
        cr_assert(eq(str, (char *)cohort, "default"));
        for (size_t i = 0; i < countof(table); i++) {
                if (strcmp(event, table[i].event) != 0)
                        continue;
                if (table[i].answer == CACHE_HIT)
                        *ret_response = bundle;
                if (table[i].answer == CACHE_WAITING) {
                        struct arrival *arrival = calloc(1, sizeof(*arrival));

                        arrival->cache = cache;
                        arrival->waiter = waiter;
                        atomic_store(&waiting, arrival);
                }
                return table[i].answer;
        }
        return CACHE_UNKNOWN;
}

void cache_forget(struct cache *cache, void *waiter)
{
        (void)cache;
        (void)waiter;
        atomic_fetch_add(&forgotten, 1);
}

void cache_tick(struct cache *cache, uint64_t now_ms)
{
        (void)cache;
        (void)now_ms;
}

static void run_arrival(struct letter *letter, void *owner)
{
        struct arrival *arrival = (struct arrival *)letter;

        (void)owner;
        arrival->cache->on_loaded(arrival->cache->owner, arrival->waiter, CACHE_HIT, bundle);
        free(arrival);
}

/* The load that a request waits for comes home. */
static void arrive(void)
{
        struct arrival *arrival = NULL;

        for (int i = 0; i < 10000 && arrival == NULL; i++) {
                nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
                arrival = atomic_exchange(&waiting, NULL);
        }
        cr_assert(arrival != NULL);
        arrival->letter.run = run_arrival;
        mailbox_post(arrival->cache->mailbox, &arrival->letter);
}

/* --- fixture --------------------------------------------------------------------------------- */

#define BODY "0123456789"

static void make_bundle(size_t len)
{
        struct bundle_row row = { .cohort = "default",
                                  .type = "application/json",
                                  .size = (uint32_t)len };
        char *bytes = malloc(len);
        struct blob *body;

        for (size_t i = 0; i < len; i++)
                bytes[i] = (char)('0' + i % 10);
        bundle_sha256(bytes, len, row.sha256);
        body = blob_create(bytes, len);
        bundle = bundle_response_create(&row, 3, body);
        blob_unref(body);
        free(bytes);
}

static struct worker *started(void)
{
        struct worker_options options = test_worker_options();
        struct worker *worker;

        options.loader = (struct loader *)1; /* only the played cache sees it */
        worker = test_worker_start(&options);
        test_install(worker, 7);
        return worker;
}

static void finish(struct worker *worker)
{
        worker_destroy(worker);
        bundle_response_unref(bundle);
        bundle = NULL;
}

static char head[4096], body[200000];

static int ask(int fd, const char *request)
{
        client_say(fd, request);
        return client_read_response(fd, head, sizeof(head), body, sizeof(body));
}

static int get(int fd, const char *target)
{
        char text[512];

        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: n\r\n\r\n", target);
        return ask(fd, text);
}

/* --- pages ----------------------------------------------------------------------------------- */

Test(http, one_connection_serves_one_request_after_another)
{
        struct worker *worker = started();
        int fd = client_connect(worker);

        make_bundle(10);
        cr_assert(eq(int, get(fd, "/healthz"), 200));
        cr_assert(eq(str, (char *)body, "ok\n"));
        cr_assert(eq(int, get(fd, "/nowhere"), 404));
        cr_assert(strstr(head, "application/problem+json") != NULL);
        cr_assert(eq(int, get(fd, "/v1/prefetch/hit"), 200));
        cr_assert(eq(str, (char *)body, BODY));
        cr_assert(eq(int, get(fd, "/v1/connect?device=a"), 426));
        cr_assert(strstr(head, "\r\nUpgrade: websocket\r\n") != NULL);
        cr_assert(eq(int, get(fd, "/healthz"), 200));
        close(fd);
        finish(worker);
}

Test(http, requests_sent_together_are_answered_in_order)
{
        struct worker *worker = started();
        int fd = client_connect(worker);

        make_bundle(10);
        client_say(fd, "GET /healthz HTTP/1.1\r\nHost: n\r\n\r\nGET /x HTTP/1.1\r\nHost: n\r\n\r\n"
                       "GET /v1/prefetch/hit HTTP/1.1\r\nHost: n\r\n\r\nGET /hea");
        cr_assert(eq(int, client_read_response(fd, head, sizeof(head), body, sizeof(body)), 200));
        cr_assert(eq(int, client_read_response(fd, head, sizeof(head), body, sizeof(body)), 404));
        cr_assert(eq(int, client_read_response(fd, head, sizeof(head), body, sizeof(body)), 200));
        cr_assert(eq(str, (char *)body, BODY));
        cr_assert(eq(int, ask(fd, "lthz HTTP/1.1\r\nHost: n\r\n\r\n"), 200));
        close(fd);
        finish(worker);
}

Test(http, a_head_byte_by_byte_is_the_same_head)
{
        static const char request[] = "GET /healthz HTTP/1.1\r\nHost: n\r\nX: y\r\n\r\n";
        struct worker *worker = started();
        int fd = client_connect(worker);

        for (int round = 0; round < 2; round++) {
                for (size_t i = 0; i < sizeof(request) - 1; i++)
                        client_send(fd, request + i, 1);
                cr_assert(
                    eq(int, client_read_response(fd, head, sizeof(head), body, sizeof(body)), 200));
        }
        close(fd);
        finish(worker);
}

Test(http, the_longest_head_is_read_and_one_byte_more_is_431)
{
        struct worker *worker = started();

        for (int more = 0; more < 2; more++) {
                int fd = client_connect(worker), status;
                char text[HEAD_MAX + 2];
                size_t len = (size_t)sprintf(text, "GET /healthz HTTP/1.1\r\nHost: n\r\nX: ");

                memset(text + len, 'x', sizeof(text) - len);
                memcpy(text + HEAD_MAX + more - 4, "\r\n\r\n", 4);
                client_send(fd, text, 5000); /* in two pieces, so that it is kept in between */
                nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
                client_send(fd, text + 5000, HEAD_MAX + (size_t)more - 5000);
                status = client_read_response(fd, head, sizeof(head), body, sizeof(body));
                cr_assert(eq(int, status, more ? 431 : 200));
                if (more)
                        cr_assert(client_sees_end(fd));
                close(fd);
        }
        finish(worker);
}

Test(http, garbage_is_400_and_the_end)
{
        static const struct {
                const char *bytes;
                size_t len;
                int status;
        } table[] = {
                { "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n", 15, 400 },
                { "GET /healthz HTTP/1.1\r\n\r\n", 25, 400 }, /* no Host */
                { "GET /healthz HTTP/1.1\nHost: n\n\n", 31, 400 },
                { "GET /healthz HTTP/1.1\r\nHost : n\r\n\r\n", 36, 400 },
                { "GET /healthz HTTP/2.0\r\nHost: n\r\n\r\n", 35, 505 },
                { "GET /healthz HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\n\r\nGET /", 59, 400 },
        };
        struct worker *worker = started();

        for (size_t i = 0; i < countof(table); i++) {
                int fd = client_connect(worker);

                client_send(fd, table[i].bytes, table[i].len);
                cr_assert(eq(int, client_read_response(fd, head, sizeof(head), body, sizeof(body)),
                             table[i].status),
                          "row %zu", i);
                cr_assert(strstr(head, "\r\nConnection: close\r\n") != NULL, "row %zu", i);
                cr_assert(client_sees_end(fd), "row %zu", i);
                close(fd);
        }
        finish(worker);
}

Test(http, a_connection_that_asks_to_be_closed_is)
{
        struct worker *worker = started();
        int fd = client_connect(worker);

        cr_assert(
            eq(int, ask(fd, "GET /healthz HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n"), 200));
        cr_assert(client_sees_end(fd));
        close(fd);
        fd = client_connect(worker);
        cr_assert(eq(int, ask(fd, "GET /healthz HTTP/1.0\r\n\r\n"), 200));
        cr_assert(client_sees_end(fd));
        close(fd);
        finish(worker);
}

Test(http, a_head_that_drips_is_closed_at_its_deadline_however_it_drips)
{
        struct worker_options options = test_worker_options();
        static const char begin[] = "GET /healthz HTTP/1.1\r\nHost: n\r\nX: ";
        struct worker *worker;
        int silent, dripping;
        char byte;

        options.handshake_ms = 150;
        worker = test_worker_start(&options);
        silent = client_connect(worker);
        dripping = client_connect(worker);
        for (int i = 0; i < 2000; i++) { /* a byte every few ms: each one alone is in time */
                if (send(dripping, i < (int)sizeof(begin) - 1 ? begin + i : "x", 1, MSG_NOSIGNAL) <
                    0)
                        break;
                if (recv(dripping, &byte, 1, MSG_DONTWAIT) == 0)
                        break;
                nanosleep(&(struct timespec){ .tv_nsec = 3000000 }, NULL);
                cr_assert(lt(int, i, 1999)); /* 40 deadlines long */
        }
        cr_assert(client_sees_end(silent));
        close(silent);
        close(dripping);
        worker_destroy(worker);
}

Test(http, the_state_page_is_what_reset_carries_and_304_while_it_stands)
{
        struct worker *worker = started();
        int fd = client_connect(worker);
        char request[256], etag[80];
        struct message message;
        const char *at;

        cr_assert(eq(int, get(fd, "/v1/events"), 200));
        cr_assert(eq(int, message_decode(body, strlen(body), ENCODING_JSON, &message), OK));
        cr_assert(eq(int, message.type, MESSAGE_RESET));
        cr_assert(eq(u64, message.reset.token.seq, 7));
        cr_assert(eq(str, message.reset.events[0].event, "derby"));
        message_fini(&message);
        at = strstr(head, "\r\nETag: ");
        cr_assert(at != NULL);
        sscanf(at + 8, "%79s", etag);
        snprintf(request, sizeof(request),
                 "GET /v1/events HTTP/1.1\r\nHost: n\r\nIf-None-Match: %s\r\n\r\n", etag);
        cr_assert(eq(int, ask(fd, request), 304));
        cr_assert(zero(sz, strlen(body)));
        client_say(fd, "HEAD /v1/events HTTP/1.1\r\nHost: n\r\n\r\n");
        client_read_head(fd, head, sizeof(head));
        cr_assert(zero(int, strncmp(head, "HTTP/1.1 200", 12)));
        test_entry(worker, 8);
        for (int status = 304, i = 0; status == 304; i++) { /* the letter is on its way */
                status = ask(fd, request);
                cr_assert(lt(int, i, 10000));
        }
        close(fd);
        finish(worker);
}

/* --- bundles --------------------------------------------------------------------------------- */

Test(http, each_answer_of_the_cache_has_its_status)
{
        static const struct {
                const char *target;
                int status;
                const char *field;
        } table[] = {
                { "/v1/prefetch/hit", 200, "\r\nKickoff-Bundle: 3\r\n" },
                { "/v1/prefetch/unknown", 404, "\r\nCache-Control: public, max-age=" },
                { "/v1/prefetch/not-yet", 404, "\r\nCache-Control: public, max-age=" },
                { "/v1/prefetch/no-cohort", 404, "\r\nContent-Type: application/problem+json\r\n" },
                { "/v1/prefetch/over", 410, "\r\nCache-Control: public, max-age=" },
                { "/v1/prefetch/busy", 503, "\r\nRetry-After: " },
        };
        struct worker *worker = started();
        int fd = client_connect(worker);

        make_bundle(10);
        for (size_t i = 0; i < countof(table); i++) {
                cr_assert(eq(int, get(fd, table[i].target), table[i].status), "%s",
                          table[i].target);
                cr_assert(strstr(head, table[i].field) != NULL, "%s", head);
        }
        close(fd);
        finish(worker);
}

Test(http, a_bundle_that_is_known_is_304_and_head_has_no_body)
{
        struct worker *worker = started();
        int fd = client_connect(worker);
        char request[512];

        make_bundle(10);
        snprintf(request, sizeof(request),
                 "GET /v1/prefetch/hit HTTP/1.1\r\nHost: n\r\nIf-None-Match: %s\r\n\r\n",
                 bundle->variants[CODING_IDENTITY]->etag);
        cr_assert(eq(int, ask(fd, request), 304));
        client_say(fd, "HEAD /v1/prefetch/hit HTTP/1.1\r\nHost: n\r\n\r\n");
        client_read_head(fd, head, sizeof(head));
        cr_assert(strstr(head, "\r\nContent-Length: 10\r\n") != NULL);
        cr_assert(eq(int, get(fd, "/v1/prefetch/hit"), 200)); /* right after: nothing in between */
        cr_assert(eq(str, (char *)body, BODY));
        close(fd);
        finish(worker);
}

Test(http, a_bundle_that_is_loaded_first_comes_when_it_is_there_and_what_followed_after_it)
{
        struct worker *worker = started();
        int fd = client_connect(worker);

        make_bundle(10);
        for (int round = 0; round < 2; round++) {
                client_say(fd, "GET /v1/prefetch/slow HTTP/1.1\r\nHost: n\r\n\r\n"
                               "GET /healthz HTTP/1.1\r\nHost: n\r\n\r\nGET /heal");
                arrive();
                cr_assert(
                    eq(int, client_read_response(fd, head, sizeof(head), body, sizeof(body)), 200));
                cr_assert(eq(str, (char *)body, BODY));
                cr_assert(
                    eq(int, client_read_response(fd, head, sizeof(head), body, sizeof(body)), 200));
                cr_assert(eq(str, (char *)body, "ok\n"));
                cr_assert(eq(int, ask(fd, "thz HTTP/1.1\r\nHost: n\r\n\r\n"), 200));
        }
        close(fd);
        finish(worker);
}

Test(http, who_goes_away_while_a_bundle_is_loaded_is_forgotten)
{
        struct worker *worker = started();
        int fd = client_connect(worker);

        make_bundle(10);
        client_say(fd, "GET /v1/prefetch/slow HTTP/1.1\r\nHost: n\r\n\r\n");
        for (int i = 0; i < 10000 && atomic_load(&waiting) == NULL; i++)
                nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        close(fd);
        for (int i = 0; i < 10000 && atomic_load(&forgotten) == 0; i++)
                nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        cr_assert(eq(int, atomic_load(&forgotten), 1));
        finish(worker);
}

Test(http, a_body_longer_than_any_buffer_comes_whole_and_the_next_answer_after_it)
{
        struct worker *worker = started();
        int fd = client_connect_with(worker, 2048);

        make_bundle(190000);
        client_say(fd, "GET /v1/prefetch/hit HTTP/1.1\r\nHost: n\r\n\r\n"
                       "GET /healthz HTTP/1.1\r\nHost: n\r\n\r\n");
        cr_assert(eq(int, client_read_response(fd, head, sizeof(head), body, sizeof(body)), 200));
        for (size_t i = 0; i < 190000; i++)
                cr_assert(eq(int, body[i], (char)('0' + i % 10)));
        cr_assert(eq(int, client_read_response(fd, head, sizeof(head), body, sizeof(body)), 200));
        cr_assert(eq(str, (char *)body, "ok\n"));
        close(fd);
        finish(worker);
}

Test(http, those_who_do_not_take_their_bundles_are_so_many_at_most_and_others_are_told_when)
{
        enum { MANY = 8 };
        struct worker_options options = test_worker_options();
        struct worker *worker;
        int fds[MANY], fd, status = 503;
        const char *field;

        options.loader = (struct loader *)1;
        options.admission.handshakes = MANY;
        worker = test_worker_start(&options);
        test_install(worker, 7);
        make_bundle(190000);
        for (int i = 0; i < MANY; i++) {
                fds[i] = client_connect_with(worker, 2048);
                client_say(fds[i], "GET /v1/prefetch/hit HTTP/1.1\r\nHost: n\r\n\r\n");
                client_read_head(fds[i], head, sizeof(head)); /* and not its body */
        }
        fd = client_connect(worker);
        cr_assert(eq(int, get(fd, "/v1/prefetch/hit"), 503));
        field = strstr(head, "\r\nRetry-After: ");
        cr_assert(field != NULL && atoi(field + 15) >= 5 && atoi(field + 15) <= 10);
        cr_assert(client_sees_end(fd));
        close(fd);
        fd = client_join(worker, ""); /* who fetches nothing is not concerned */
        close(fd);
        close(fds[0]);
        for (int i = 0; i < 10000 && status == 503; i++) {
                fd = client_connect(worker);
                status = get(fd, "/v1/prefetch/hit");
                close(fd);
        }
        cr_assert(eq(int, status, 200));
        for (int i = 1; i < MANY; i++)
                close(fds[i]);
        finish(worker);
}

Test(http, an_upgrade_may_follow_other_requests)
{
        struct worker *worker = started();
        int fd = client_connect(worker);
        struct message message;

        cr_assert(eq(int, get(fd, "/healthz"), 200));
        client_upgrade(fd, "", "");
        client_read_head(fd, head, sizeof(head));
        cr_assert(zero(int, strncmp(head, "HTTP/1.1 101", 12)));
        message = client_read_message(fd, ENCODING_JSON);
        cr_assert(eq(int, message.type, MESSAGE_HELLO));
        close(fd);
        finish(worker);
}
