/* loadtest/net.h -- sockets of simulated devices: where the nodes are, and connecting from one of
 * many loopback addresses, because one address has only about 28,000 ports towards one node. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/err.h"

#define NET_TARGETS_MAX 64
#define NET_HOST_MAX    272
#define NET_PER_SOURCE \
        8000 /* devices of one source address: room for TIME_WAIT of prefetches beside them */

struct net_target {
        struct sockaddr_storage address;
        socklen_t len;
        bool is_loopback4;       /* 127/8: a source address may be chosen */
        char host[NET_HOST_MAX]; /* for the Host header: "127.0.0.1:8080" */
};

/* "ws://host:port[,ws://host:port]...". ERR_INVALID: not that; *ret_why tells what is wrong.
 * ERR_NOT_FOUND: a name that does not resolve. */
must_check enum err net_parse_targets(const char *urls, struct net_target targets[NET_TARGETS_MAX],
                                      unsigned *ret_n, const char **ret_why);
/* A non-blocking socket on its way to `target`; -1 with errno. source: 0 = the kernel chooses, else
 * an IPv4 address of 127/8 in host order. */
int net_connect(const struct net_target *target, uint32_t source);
/* The same with a receive buffer of about so many bytes; 0: as the kernel likes. */
int net_connect_small(const struct net_target *target, uint32_t source, int receive_bytes);
/* Source address of device `number`: 127.0.x.y, NET_PER_SOURCE devices each. */
uint32_t net_source(uint32_t number);
/* Can a connection be made at all? Blocks, up to timeout_ms. */
bool net_answers(const struct net_target *target, int timeout_ms);
/* Is this connected socket's other end `target`? */
bool net_is_peer(int fd, const struct net_target *target);
/* As many descriptors as the system lets us have; returns how many. */
uint64_t net_raise_descriptors(void);
