/* loadtest/fetcher.c -- see fetcher.h. A body that is byte for byte the last verified one, with the
 * same ETag, need not be hashed again. */
#include "loadtest/fetcher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <openssl/sha.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "loadtest/reply.h"

#define PATIENCE_US   15000000 /* for one whole fetch */
#define BODY_MAX      (2u * 1024 * 1024)
#define SCAN_EVERY_US 100000

enum slot_state { SLOT_FREE, SLOT_CONNECTING, SLOT_HEAD, SLOT_BODY, SLOT_DEAD };

struct slot {
        int fd;
        enum slot_state state;
        uint32_t device;
        const struct net_target *target;
        char cohort[COHORT_MAX + 1];
        uint64_t began_us;
        struct reply reply; /* SLOT_BODY */
        struct buf got;
        size_t head_len; /* SLOT_BODY: where the body begins in `got` */
};

struct fetcher {
        int set;
        uint32_t n;
        uint32_t *idle; /* stack of free slots: [0, n - busy) */
        uint32_t dead;  /* slots to be told of by the next tick */
        uint64_t scan_us;
        const char *event;
        fetch_done_fn *done;
        void *owner;
        uint32_t busy;
        struct buf verified; /* the last body whose hash was right */
        char verified_etag[REPLY_ETAG_MAX + 1];
        struct slot slots[];
};

struct fetcher *fetcher_create(int epoll_set, const char *event, uint32_t slots,
                               fetch_done_fn *done, void *owner)
{
        struct fetcher *fetcher = calloc(1, sizeof(*fetcher) + slots * sizeof(fetcher->slots[0]));
        uint32_t *idle = calloc(slots, sizeof(*idle));

        if (fetcher == NULL || idle == NULL) {
                free(fetcher);
                free(idle);
                return NULL;
        }
        for (uint32_t i = 0; i < slots; i++)
                idle[i] = slots - 1 - i;
        fetcher->n = slots;
        fetcher->idle = idle;
        fetcher->set = epoll_set;
        fetcher->event = event;
        fetcher->done = done;
        fetcher->owner = owner;
        return fetcher;
}

void fetcher_destroy(struct fetcher *fetcher)
{
        if (fetcher == NULL)
                return;
        for (uint32_t i = 0; i < fetcher->n; i++) {
                if (fetcher->slots[i].state != SLOT_FREE && fetcher->slots[i].fd >= 0)
                        close(fetcher->slots[i].fd);
                buf_fini(&fetcher->slots[i].got);
        }
        buf_fini(&fetcher->verified);
        free(fetcher->idle);
        free(fetcher);
}

bool fetcher_is_full(const struct fetcher *fetcher)
{
        return fetcher->busy == fetcher->n;
}

void fetcher_start(struct fetcher *fetcher, uint32_t device, const char *cohort,
                   const struct net_target *target, uint32_t source)
{
        struct epoll_event event = { .events = EPOLLOUT };
        struct slot *slot;

        check(!fetcher_is_full(fetcher));
        slot = &fetcher->slots[fetcher->idle[fetcher->n - ++fetcher->busy]];
        slot->state = SLOT_CONNECTING;
        slot->device = device;
        slot->target = target;
        slot->began_us = clock_mono_us();
        snprintf(slot->cohort, sizeof(slot->cohort), "%s", cohort);
        buf_clear(&slot->got);
        slot->fd = net_connect(target, source);
        event.data.u64 = FETCHER_MARK | (uint64_t)(slot - fetcher->slots);
        if (slot->fd < 0 || epoll_ctl(fetcher->set, EPOLL_CTL_ADD, slot->fd, &event) != 0) {
                slot->state = SLOT_DEAD; /* told by the next tick, never from in here */
                fetcher->dead++;
        }
}

static void finish(struct fetcher *fetcher, struct slot *slot, enum fetch_result result)
{
        bool has_reply = slot->state == SLOT_BODY;
        struct fetch_outcome outcome = {
                .result = result,
                .status = has_reply ? slot->reply.status : 0,
                .retry_after_s = has_reply ? slot->reply.retry_after : 0,
                .bundle = has_reply ? slot->reply.bundle : 0,
                .took_us = clock_mono_us() - slot->began_us,
        };
        uint32_t device = slot->device;

        if (slot->fd >= 0)
                close(slot->fd);
        fetcher->dead -= slot->state == SLOT_DEAD;
        slot->state = SLOT_FREE;
        if (fetcher->n > FETCHER_SLOTS)
                buf_fini(&slot->got); /* thousands of them would keep what one needs at a time */
        fetcher->idle[fetcher->n - fetcher->busy--] = (uint32_t)(slot - fetcher->slots);
        fetcher->done(fetcher->owner, device, &outcome);
}

static bool body_is_genuine(struct fetcher *fetcher, const char *body, size_t len, const char *etag)
{
        static const char digits[] = "0123456789abcdef";
        unsigned char hash[SHA256_DIGEST_LENGTH];
        char text[2 * SHA256_DIGEST_LENGTH + 3];

        if (fetcher->verified.len == len && len > 0 && strcmp(etag, fetcher->verified_etag) == 0 &&
            memcmp(body, fetcher->verified.data, len) == 0)
                return true;
        SHA256((const unsigned char *)body, len, hash);
        text[0] = '"';
        for (size_t i = 0; i < sizeof(hash); i++) {
                text[1 + 2 * i] = digits[hash[i] >> 4];
                text[2 + 2 * i] = digits[hash[i] & 15];
        }
        text[sizeof(text) - 2] = '"';
        text[sizeof(text) - 1] = '\0';
        if (strcmp(text, etag) != 0)
                return false;
        buf_clear(&fetcher->verified);
        buf_add(&fetcher->verified, body, len);
        snprintf(fetcher->verified_etag, sizeof(fetcher->verified_etag), "%s", etag);
        return true;
}

static void on_complete(struct fetcher *fetcher, struct slot *slot)
{
        const struct reply *reply = &slot->reply;

        if (reply->status == 503 || reply->status == 429)
                finish(fetcher, slot, FETCH_SHED);
        else if (reply->status == 200 && reply->has_bundle &&
                 body_is_genuine(fetcher, slot->got.data + slot->head_len, (size_t)reply->length,
                                 reply->etag))
                finish(fetcher, slot, FETCH_GOOD);
        else
                finish(fetcher, slot, FETCH_BAD);
}

static void send_request(struct fetcher *fetcher, struct slot *slot)
{
        struct epoll_event event = { .events = EPOLLIN,
                                     .data.u64 = FETCHER_MARK | (uint64_t)(slot - fetcher->slots) };
        char request[512];
        int n = snprintf(request, sizeof(request),
                         "GET /v1/prefetch/%s?cohort=%s HTTP/1.1\r\nHost: %s\r\n"
                         "Connection: close\r\n\r\n",
                         fetcher->event, slot->cohort, slot->target->host);

        slot->state = SLOT_HEAD;
        if (n >= (int)sizeof(request) || send(slot->fd, request, (size_t)n, MSG_NOSIGNAL) != n ||
            epoll_ctl(fetcher->set, EPOLL_CTL_MOD, slot->fd, &event) != 0)
                finish(fetcher, slot, FETCH_BROKEN);
}

static void on_readable(struct fetcher *fetcher, struct slot *slot)
{
        static char bytes[64 * 1024];
        ssize_t n = recv(slot->fd, bytes, sizeof(bytes), 0);

        if (n <= 0 || slot->got.len + (size_t)n > BODY_MAX) {
                finish(fetcher, slot, FETCH_BROKEN);
                return;
        }
        buf_add(&slot->got, bytes, (size_t)n);
        if (slot->got.failed) {
                finish(fetcher, slot, FETCH_BROKEN);
                return;
        }
        if (slot->state == SLOT_HEAD) {
                switch (reply_parse(slot->got.data, slot->got.len, &slot->reply, &slot->head_len)) {
                case REPLY_MORE:
                        return;
                case REPLY_BROKEN:
                        finish(fetcher, slot, FETCH_BROKEN);
                        return;
                case REPLY_DONE:
                        slot->state = SLOT_BODY;
                }
        }
        if (slot->got.len - slot->head_len >= slot->reply.length)
                on_complete(fetcher, slot);
}

void fetcher_ready(struct fetcher *fetcher, uint64_t data)
{
        struct slot *slot = &fetcher->slots[data & ~FETCHER_MARK];

        if (slot->state == SLOT_CONNECTING)
                send_request(fetcher, slot);
        else if (slot->state == SLOT_HEAD || slot->state == SLOT_BODY)
                on_readable(fetcher, slot);
}

void fetcher_tick(struct fetcher *fetcher, uint64_t now_us)
{
        if (fetcher->dead == 0 && now_us < fetcher->scan_us)
                return;
        fetcher->scan_us = now_us + SCAN_EVERY_US;
        for (uint32_t i = 0; i < fetcher->n && fetcher->busy > 0; i++) {
                struct slot *slot = &fetcher->slots[i];

                if (slot->state == SLOT_DEAD ||
                    (slot->state != SLOT_FREE && now_us > slot->began_us &&
                     now_us - slot->began_us > PATIENCE_US))
                        finish(fetcher, slot, FETCH_BROKEN);
        }
}
