/* tests/support/tcp_proxy.h -- stands between a client and a server and does to their bytes what
 * networks do: delay, stall, cut, reset, end in mid-message, lose one published message of Redis. A
 * process of its own, that dies with the test; what it does can be changed at any time and holds
 * for connections that are there as well as for new ones. Several servers: connections are dealt to
 * them in turn, and whoever refuses is passed over, as a load balancer does. Functions here are for
 * the thread that created the proxy; counters may be read by any. */
#pragma once

#include <stdint.h>

struct tcp_proxy;

enum proxy_direction { PROXY_TO_SERVER, PROXY_TO_CLIENT, PROXY_DIRECTIONS };
#define PROXY_SERVERS_MAX 4

/* Listens at 127.0.0.1 on a free port. `server` is "unix:/path" or "ADDRESS:PORT". `in_child` (or
 * NULL) runs in the new process first, with `arg`: netns_enter, say. */
struct tcp_proxy *tcp_proxy_start(const char *server, void (*in_child)(void *arg), void *arg);
void tcp_proxy_destroy(struct tcp_proxy *proxy); /* NULL is fine */
uint16_t tcp_proxy_port(const struct tcp_proxy *proxy);
/* Slot 0 is that of tcp_proxy_start; NULL = none in this slot. For connections to come. */
void tcp_proxy_set_server(struct tcp_proxy *proxy, unsigned slot, const char *server);

/* Each byte of that direction arrives this much later; order is kept. */
void tcp_proxy_delay(struct tcp_proxy *proxy, enum proxy_direction direction, unsigned ms);
/* Every second connection (the 2nd, 4th, ... accepted) is slower by this much more, both ways: what
 * is sent on one link then overtakes what was sent before on another. */
void tcp_proxy_delay_every_second(struct tcp_proxy *proxy, unsigned ms);
/* Nothing of that direction arrives until it is told to go on; nothing is lost. */
void tcp_proxy_stall(struct tcp_proxy *proxy, enum proxy_direction direction, int stalled);

void tcp_proxy_cut(struct tcp_proxy *proxy); /* FIN to both sides, now; bytes under way are lost */
void tcp_proxy_reset(struct tcp_proxy *proxy); /* RST to both sides */
/* Connections that are there now, and whose client sent this text among its first 4 KiB, get nothing from
 * the server any more, until they end; others go on. "SUBSCRIBE", or a link's name. */
void tcp_proxy_stall_who_said(struct tcp_proxy *proxy, const char *text);
/* After so many further bytes of that direction, over all connections, the connection that carries
 * the last of them is cut. Once. */
void tcp_proxy_truncate(struct tcp_proxy *proxy, enum proxy_direction direction, uint64_t bytes);
/* New connections are accepted and closed at once (1), or not (0). */
void tcp_proxy_refuse(struct tcp_proxy *proxy, int refuse);
/* Of the messages Redis publishes to subscribers, the next n are lost whole, and nothing else. Only
 * with a Redis behind, and only for connections that began after the first call. */
void tcp_proxy_lose_messages(struct tcp_proxy *proxy, unsigned n);

struct tcp_proxy_counts {
        uint64_t connections;             /* accepted so far */
        uint64_t open;                    /* now */
        uint64_t bytes[PROXY_DIRECTIONS]; /* carried */
        uint64_t messages, messages_lost; /* of Redis: seen, and lost by request */
        uint64_t truncated;               /* cuts made by tcp_proxy_truncate */
};
struct tcp_proxy_counts tcp_proxy_counts(const struct tcp_proxy *proxy);
