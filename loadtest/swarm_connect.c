/* loadtest/swarm_connect.c -- a device on its way in: connection, request, answer. From there on it
 * is swarm_device.c's. */
#include "loadtest/swarm_device.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "loadtest/reply.h"

#define PATIENCE_MS 20000 /* for connecting and upgrading together */

static struct swarm_counts *counts(struct swarm *swarm)
{
        return &swarm->result.counts;
}

void swarm_connect_count(struct device *device)
{
        if (device->tries < UINT8_MAX)
                device->tries++;
}

static bool reads_slowly(const struct swarm *swarm, const struct device *device)
{
        enum model_role role = swarm_role(swarm, device);

        return role == MODEL_SLOW || role == MODEL_STUCK;
}

void swarm_connect_begin(struct swarm *swarm, struct device *device)
{
        uint32_t number = swarm_number(swarm, device);
        const struct swarm_options *options = &swarm->options;
        const struct net_target *target = &options->targets[device->target];

        device->encoding = options->encodings == SWARM_JSON      ? ENCODING_JSON
                           : options->encodings == SWARM_MSGPACK ? ENCODING_MSGPACK
                           : number % 2 == 0                     ? ENCODING_JSON
                                                                 : ENCODING_MSGPACK;
        counts(swarm)->connects++;
        swarm_note(swarm, SERIES_DIALS);
        device->began_us = (uint32_t)clock_mono_us();
        device->fd = net_connect_small(target, target->is_loopback4 ? net_source(number) : 0,
                                       reads_slowly(swarm, device) ? MODEL_SLOW_RCVBUF : 0);
        device->state = DEVICE_CONNECTING;
        swarm->under_way++;
        if (device->fd < 0) {
                counts(swarm)->connect_errors++;
                swarm_connect_count(device);
                swarm_device_come_back(swarm, device, 0);
                return;
        }
        swarm_watch(swarm, device, EPOLL_CTL_ADD, EPOLLOUT);
        wheel_start(&swarm->links, &device->link_timer, swarm->now_ms + PATIENCE_MS);
}

void swarm_connect_ask(struct swarm *swarm, struct device *device)
{
        const struct swarm_options *options = &swarm->options;
        uint32_t number = swarm_number(swarm, device);
        const struct net_target *target = &options->targets[device->target];
        char request[1024], token[TOKEN_TEXT_MAX + 1] = "", cohort[COHORT_MAX + 1];
        int n;

        if (device->sim.place.epoch != 0)
                token_format(&device->sim.place, token);
        cohorts_name(&options->cohorts, number, cohort);
        n = snprintf(request, sizeof(request),
                     "GET /v1/connect?device=herd-%08x-%09u&cohort=%s%s%s%s HTTP/1.1\r\n"
                     "Host: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n"
                     "Sec-WebSocket-Protocol: %s\r\n\r\n",
                     options->run, number, cohort, token[0] != '\0' ? "&since=" : "", token,
                     options->no_ack ? "&ack=0" : "", target->host, swarm->key,
                     encoding_subprotocol[device->encoding]);
        simdevice_open(&device->sim);
        device->state = DEVICE_UPGRADING;
        swarm_connect_count(device);
        if (send(device->fd, request, (size_t)n, MSG_NOSIGNAL) != n)
                swarm_device_lose(swarm, device);
        else
                swarm_watch(swarm, device, EPOLL_CTL_MOD, EPOLLIN);
}

static void on_refused(struct swarm *swarm, struct device *device, const struct reply *reply)
{
        counts(swarm)->refused++;
        swarm_note(swarm, SERIES_REFUSED);
        counts(swarm)->last_refusal = reply->status;
        if (reply->status >= 500 || reply->status == 429) {
                swarm_device_come_back(swarm, device, reply->retry_after * 1000);
                return;
        }
        swarm_device_release(swarm, device);
        device->state = DEVICE_GAVE_UP;
        counts(swarm)->gave_up++;
}

/* Looks before it takes, so that a head in pieces needs no memory. */
bool swarm_connect_answer(struct swarm *swarm, struct device *device)
{
        ssize_t n = recv(device->fd, swarm->bytes, REPLY_HEAD_MAX, MSG_PEEK);
        struct reply reply;
        size_t used;

        if (n <= 0) {
                swarm_device_lose(swarm, device);
                return false;
        }
        switch (reply_parse((const char *)swarm->bytes, (size_t)n, &reply, &used)) {
        case REPLY_MORE:
                return false;
        case REPLY_BROKEN:
                swarm_device_break_off(swarm, device);
                return false;
        case REPLY_DONE:
                break;
        }
        if (reply.status != 101) {
                on_refused(swarm, device, &reply);
                return false;
        }
        if (strcmp(reply.accept, swarm->accept) != 0 ||
            strcmp(reply.protocol, encoding_subprotocol[device->encoding]) != 0 ||
            recv(device->fd, swarm->bytes, used, 0) != (ssize_t)used) {
                swarm_device_break_off(swarm, device);
                return false;
        }
        swarm->under_way--;
        device->state = DEVICE_OPEN;
        counts(swarm)->open++;
        wheel_stop(&swarm->links, &device->link_timer);
        return true;
}
