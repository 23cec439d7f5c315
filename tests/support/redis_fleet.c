/* tests/support/redis_fleet.c -- see the header. */
#include "tests/support/redis_fleet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "tests/support/free_port.h"

#define WAIT_MS 30000
#define SLOTS   16384

/* --- cluster ------------------------------------------------------------------------------- */

/* Gossip takes a second or so: until `node` answers CLUSTER INFO or CLUSTER NODES with this in it.
 */
static void until_cluster_says(struct test_redis *node, const char *question, const char *wanted,
                               unsigned times)
{
        uint64_t until = clock_mono_ms() + WAIT_MS;

        for (;;) {
                char *text = test_redis_ask(node, "CLUSTER", question, NULL);
                unsigned seen = 0;

                for (const char *at = strstr(text, wanted); at != NULL; at = strstr(at + 1, wanted))
                        seen++;
                if (seen >= times) {
                        free(text);
                        return;
                }
                if (clock_mono_ms() > until) {
                        fprintf(stderr, "cluster: never said %s: %s\n", wanted, text);
                        abort();
                }
                free(text);
                usleep(20000);
        }
}

void test_cluster_start(struct test_cluster *cluster)
{
        const struct test_redis_options options = { .host = "127.0.0.1" };
        uint16_t bus[TEST_CLUSTER_NODES];

        for (unsigned i = 0; i < TEST_CLUSTER_NODES; i++) {
                char port[8], first[8], last[8];

                bus[i] = test_free_port(); /* the usual one, port + 10000, may not exist */
                snprintf(port, sizeof(port), "%u", bus[i]);
                cluster->node[i] =
                    test_redis_start_as(&options, "--cluster-enabled", "yes", "--cluster-port",
                                        port, "--cluster-node-timeout", "5000", NULL);
                snprintf(first, sizeof(first), "%u", SLOTS * i / TEST_CLUSTER_NODES);
                snprintf(last, sizeof(last), "%u", SLOTS * (i + 1) / TEST_CLUSTER_NODES - 1);
                test_redis_do(cluster->node[i], "CLUSTER", "ADDSLOTSRANGE", first, last, NULL);
                snprintf(first, sizeof(first), "%u", i + 1);
                test_redis_do(cluster->node[i], "CLUSTER", "SET-CONFIG-EPOCH", first, NULL);
        }
        for (unsigned i = 1; i < TEST_CLUSTER_NODES; i++) {
                char port[8], bus_port[8];

                snprintf(port, sizeof(port), "%u", test_redis_port(cluster->node[i]));
                snprintf(bus_port, sizeof(bus_port), "%u", bus[i]);
                test_redis_do(cluster->node[0], "CLUSTER", "MEET", "127.0.0.1", port, bus_port,
                              NULL);
        }
        for (unsigned i = 0; i < TEST_CLUSTER_NODES; i++) {
                until_cluster_says(cluster->node[i], "NODES", " connected ", TEST_CLUSTER_NODES);
                until_cluster_says(cluster->node[i], "INFO", "cluster_state:ok", 1);
                until_cluster_says(cluster->node[i], "INFO", "cluster_slots_assigned:16384", 1);
        }
}

void test_cluster_end(struct test_cluster *cluster)
{
        for (unsigned i = 0; i < TEST_CLUSTER_NODES; i++)
                test_redis_destroy(cluster->node[i]);
}

unsigned test_cluster_slot(struct test_cluster *cluster, const char *key)
{
        char *text = test_redis_ask(cluster->node[0], "CLUSTER", "KEYSLOT", key, NULL);
        unsigned slot = (unsigned)atoi(text);

        free(text);
        return slot;
}

unsigned test_cluster_owner(struct test_cluster *cluster, const char *key)
{
        unsigned slot = test_cluster_slot(cluster, key), owner = 0;

        while (SLOTS * (owner + 1) / TEST_CLUSTER_NODES <= slot)
                owner++;
        return owner;
}

void test_cluster_move(struct test_cluster *cluster, unsigned slot, unsigned to)
{
        char *id = test_redis_ask(cluster->node[to], "CLUSTER", "MYID", NULL);
        char number[8];

        snprintf(number, sizeof(number), "%u", slot);
        test_redis_do(cluster->node[to], "CLUSTER", "SETSLOT", number, "NODE", id, NULL);
        for (unsigned i = 0; i < TEST_CLUSTER_NODES; i++)
                test_redis_do(cluster->node[i], "CLUSTER", "SETSLOT", number, "NODE", id, NULL);
        test_redis_do(cluster->node[to], "CLUSTER", "BUMPEPOCH", NULL);
        free(id);
}

/* --- TLS ----------------------------------------------------------------------------------- */

static void shell(const struct test_certificates *certificates, const char *command)
{
        char text[2048];
        int len = snprintf(text, sizeof(text), "cd %s && { %s; } >>openssl.log 2>&1",
                           certificates->dir, command);

        check(len > 0 && (size_t)len < sizeof(text));
        if (system(text) != 0) {
                fprintf(stderr, "certificates in %s: cannot be made; see openssl.log there\n",
                        certificates->dir);
                abort();
        }
}

void test_certificates_make(struct test_certificates *certificates)
{
        strcpy(certificates->dir, "/tmp/kickoff-certificates-XXXXXX");
        check(mkdtemp(certificates->dir) != NULL);
        shell(
            certificates,
            "key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes' && "
            "for ca in ca other-ca; do openssl req -x509 $key -keyout $ca.key -out $ca.pem -days 2 "
            "-subj \"/CN=Kickoff test $ca\"; done && "
            "echo subjectAltName=DNS:redis.test,IP:127.0.0.1 >server.ext && "
            "echo basicConstraints=CA:FALSE >client.ext && "
            "for name in server client; do openssl req $key -keyout $name.key -out $name.csr "
            "-subj \"/CN=$name\" && openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key "
            "-CAcreateserial -days 2 -extfile $name.ext -out $name.pem; done");
}

void test_certificates_end(struct test_certificates *certificates)
{
        char command[128];

        snprintf(command, sizeof(command), "rm -r %s", certificates->dir);
        check(system(command) == 0);
}

const char *test_certificates_path(const struct test_certificates *certificates, const char *name,
                                   char path[128])
{
        snprintf(path, 128, "%s/%s", certificates->dir, name);
        return path;
}

struct test_redis *test_redis_start_tls(const struct test_certificates *certificates,
                                        const char *auth_clients, uint16_t *ret_port)
{
        char ca[128], cert[128], key[128], port[8];

        *ret_port = test_free_port();
        snprintf(port, sizeof(port), "%u", *ret_port);
        return test_redis_start(
            "--tls-port", port, "--tls-cert-file",
            test_certificates_path(certificates, "server.pem", cert), "--tls-key-file",
            test_certificates_path(certificates, "server.key", key), "--tls-ca-cert-file",
            test_certificates_path(certificates, "ca.pem", ca), "--tls-auth-clients", auth_clients,
            NULL);
}
