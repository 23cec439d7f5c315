/* Who a server says it is. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/redis.h"

static const struct {
        const char *text;
        bool good, is_cluster, is_primary;
        unsigned replicas;
        const char *version, *primary;
} servers[] = {
        { "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:abc\r\n"
          "# Replication\r\nrole:master\r\nconnected_slaves:2\r\nmaster_replid:def\r\n",
          true, false, true, 2, "7.0.15", "" },
        { "redis_version:7.0.15\r\nredis_mode:cluster\r\nrun_id:abc\r\nrole:master\r\n"
          "connected_slaves:0\r\nmaster_replid:def\r\n",
          true, true, true, 0, "7.0.15", "" },
        /* Valkey 8 */
        { "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1\r\n"
          "server_mode:cluster\r\nrun_id:abc\r\nrole:master\r\nconnected_slaves:0\r\n"
          "master_replid:def\r\n",
          true, true, true, 0, "7.2.4", "" },
        { "redis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:abc\r\nrole:slave\r\n"
          "master_host:10.0.0.1\r\nmaster_port:6379\r\nmaster_replid:def\r\n",
          true, false, false, 0, "7.0.15", "10.0.0.1:6379" },
        { "", false, false, false, 0, "", "" },
        { "redis_version:7.0.15\r\n", false, false, false, 0, "", "" },
};

Test(redis_info, tells_servers_apart_whoever_made_them)
{
        for (size_t i = 0; i < countof(servers); i++) {
                struct redis_server server = { .replicas = 0 };
                enum err err = redis_parse_info(servers[i].text, &server);

                cr_assert(eq(int, err, servers[i].good ? OK : ERR_INVALID), "row %zu", i);
                if (err != OK)
                        continue;
                cr_assert(eq(int, server.is_cluster, servers[i].is_cluster), "row %zu", i);
                cr_assert(eq(int, server.is_primary, servers[i].is_primary), "row %zu", i);
                cr_assert(eq(u32, server.replicas, servers[i].replicas), "row %zu", i);
                cr_assert(eq(str, server.version, (char *)servers[i].version), "row %zu", i);
                cr_assert(eq(str, server.primary, (char *)servers[i].primary), "row %zu", i);
        }
}
