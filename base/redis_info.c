/* base/redis_info.c -- decides what a server's INFO says about itself. Pure; strict about what the
 * decisions rest on (role, run id, replication id), indifferent to everything else in there. */
#include "base/redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The value of "name:value" at the start of a line. NULL = no such line. */
static const char *field(const char *text, const char *name, size_t *ret_len)
{
        size_t name_len = strlen(name);

        for (const char *line = text; *line != '\0';) {
                size_t len = strcspn(line, "\r\n");

                if (len > name_len && line[name_len] == ':' && memcmp(line, name, name_len) == 0) {
                        *ret_len = len - name_len - 1;
                        return line + name_len + 1;
                }
                line += len;
                line += strspn(line, "\r\n");
        }
        return NULL;
}

static bool copy_field(const char *text, const char *name, char *to, size_t size)
{
        size_t len;
        const char *value = field(text, name, &len);

        if (value == NULL || len == 0 || len >= size)
                return false;
        memcpy(to, value, len);
        to[len] = '\0';
        return true;
}

static bool field_is(const char *text, const char *name, const char *wanted)
{
        size_t len;
        const char *value = field(text, name, &len);

        return value != NULL && len == strlen(wanted) && memcmp(value, wanted, len) == 0;
}

enum err redis_parse_info(const char *text, struct redis_server *ret_server)
{
        /* Valkey says server_mode where Redis says redis_mode. */
        struct redis_server server = { .is_cluster = field_is(text, "redis_mode", "cluster") ||
                                                     field_is(text, "server_mode", "cluster"),
                                       .is_primary = field_is(text, "role", "master") };
        char host[256], port[8], number[16];

        if (!server.is_primary && !field_is(text, "role", "slave"))
                return ERR_INVALID;
        if (!copy_field(text, "redis_version", server.version, sizeof(server.version)) ||
            !copy_field(text, "run_id", server.run_id, sizeof(server.run_id)) ||
            !copy_field(text, "master_replid", server.replid, sizeof(server.replid)))
                return ERR_INVALID;
        if (server.is_primary && copy_field(text, "connected_slaves", number, sizeof(number)))
                server.replicas = (unsigned)strtoul(number, NULL, 10);
        if (!server.is_primary && copy_field(text, "master_host", host, sizeof(host)) &&
            copy_field(text, "master_port", port, sizeof(port)))
                snprintf(server.primary, sizeof(server.primary), "%s:%s", host, port);
        *ret_server = server;
        return OK;
}
