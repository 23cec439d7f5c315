/* tests/support/redis_fleet.h -- servers that a link to Redis has to find its way among: a cluster,
 * and servers with TLS under a certificate authority of the test's own. On top of
 * tests/support/redis_server.h, whose functions work with each of them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tests/support/redis_server.h"

/* -- cluster: primaries without replicas at 127.0.0.1, the slots dealt in equal parts -- */
#define TEST_CLUSTER_NODES 3
struct test_cluster {
        struct test_redis *node[TEST_CLUSTER_NODES];
};
/* Every node says cluster_state:ok when this returns. */
void test_cluster_start(struct test_cluster *cluster);
void test_cluster_end(struct test_cluster *cluster);
unsigned test_cluster_slot(struct test_cluster *cluster, const char *key);
unsigned test_cluster_owner(struct test_cluster *cluster, const char *key); /* index of a node */
/* The slot (which is empty) belongs to this node from now on, and every node knows. */
void test_cluster_move(struct test_cluster *cluster, unsigned slot, unsigned to);

/* -- TLS -- */
struct test_certificates {
        char dir[64];
};
/* In `dir`: ca.pem; server.pem and server.key, for redis.test and 127.0.0.1; client.pem and
 * client.key; all by that authority; and other-ca.pem, which signed none of them. By the openssl
 * program. */
void test_certificates_make(struct test_certificates *certificates);
void test_certificates_end(struct test_certificates *certificates);
/* DIR/NAME. Returns `path`. */
const char *test_certificates_path(const struct test_certificates *certificates, const char *name,
                                   char path[128]);
/* *ret_port speaks TLS at 127.0.0.1. auth_clients: "no", "optional", "yes". */
struct test_redis *test_redis_start_tls(const struct test_certificates *certificates,
                                        const char *auth_clients, uint16_t *ret_port);
