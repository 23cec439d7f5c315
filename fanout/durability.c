/* fanout/durability.c -- asks the server itself, and believes nothing else. With appendfsync
 * always, Redis writes and syncs the append-only file before it sends any reply of that turn of its
 * loop, the published copies included: so neither a producer nor a node hears of a signal before
 * the disk has it. */
#include "fanout/durability.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"

static const char *const mode_name[DURABILITIES] = { "memory", "fsync", "replicated" };

#define TEXT_OF(number) #number
#define TEXT(number)    TEXT_OF(number)

struct setting {
        const char *name, *wanted;
};

static const struct setting settings[] = {
        { "appendonly", "yes" },
        { "appendfsync", "always" },
        { "no-appendfsync-on-rewrite", "no" }, /* `yes` stops syncing while the file is rewritten */
        { "maxmemory-policy", "noeviction" },  /* any other may throw the log away */
};

struct asking {
        enum durability_mode wanted;
        durability_fn *done;
        void *owner;
};

/* 1 .. DURABILITY_REPLICAS_MAX, written as a person would; 0 = it is not. */
static unsigned parse_replicas(const char *text)
{
        size_t len = strlen(text);
        unsigned n = 0;

        if (len == 0 || len > 2 || text[0] == '0' || strspn(text, "0123456789") != len)
                return 0;
        for (size_t i = 0; i < len; i++)
                n = n * 10 + (unsigned)(text[i] - '0');
        return n <= DURABILITY_REPLICAS_MAX ? n : 0;
}

enum err durability_parse(const char *text, struct durability *ret, const char **ret_why)
{
        const char *name = mode_name[DURABILITY_REPLICATED];
        size_t len = strlen(name);
        struct durability parsed = { .mode = DURABILITY_REPLICATED, .replicas = 1 };

        if (strcmp(text, mode_name[DURABILITY_MEMORY]) == 0) {
                parsed = (struct durability){ .mode = DURABILITY_MEMORY };
        } else if (strcmp(text, mode_name[DURABILITY_FSYNC]) == 0) {
                parsed = (struct durability){ .mode = DURABILITY_FSYNC };
        } else if (strncmp(text, name, len) == 0 && text[len] == ':') {
                parsed.replicas = parse_replicas(text + len + 1);
                if (parsed.replicas == 0) {
                        *ret_why = "replicated:N needs a number of replicas from 1 to " TEXT(
                            DURABILITY_REPLICAS_MAX);
                        return ERR_INVALID;
                }
        } else if (strcmp(text, name) != 0) {
                *ret_why = "durability is memory, fsync, replicated or replicated:N";
                return ERR_INVALID;
        }
        *ret = parsed;
        return OK;
}

void durability_format(const struct durability *durability, char text[DURABILITY_TEXT_MAX + 1])
{
        if (durability->mode == DURABILITY_REPLICATED)
                snprintf(text, DURABILITY_TEXT_MAX + 1, "%s:%u", mode_name[durability->mode],
                         durability->replicas);
        else
                snprintf(text, DURABILITY_TEXT_MAX + 1, "%s", mode_name[durability->mode]);
}

/* CONFIG GET answers name, value, name, value. */
static const char *value_of(const struct redis_reply *reply, const char *name)
{
        for (size_t i = 0; i + 1 < redis_count(reply); i += 2) {
                if (strcasecmp(redis_text(redis_at(reply, i), NULL), name) == 0)
                        return redis_text(redis_at(reply, i + 1), NULL);
        }
        return NULL;
}

static enum err judge(const struct redis_reply *reply, enum durability_mode wanted, struct buf *why)
{
        enum err err = OK;

        for (size_t i = 0; i < countof(settings); i++) {
                const char *value = value_of(reply, settings[i].name);

                if (value != NULL && strcmp(value, settings[i].wanted) == 0)
                        continue;
                if (err == OK)
                        buf_printf(why,
                                   "this Redis cannot keep what %s promises; in its "
                                   "configuration set",
                                   mode_name[wanted]);
                buf_printf(why, "%s `%s %s` (now: %s)", err == OK ? "" : " and", settings[i].name,
                           settings[i].wanted, value != NULL ? value : "unknown to it");
                err = ERR_CONFLICT;
        }
        return err;
}

/* Says nothing of rights: it will answer when it is done. */
static bool is_busy(const struct redis_reply *reply)
{
        const char *text = redis_text(reply, NULL);

        return strncmp(text, "BUSY ", 5) == 0 || strncmp(text, "LOADING ", 8) == 0;
}

static void on_answer(void *owner, const struct redis_reply *reply)
{
        struct asking asking = *(struct asking *)owner;
        struct buf why = BUF_INIT;
        enum err err = OK;

        free(owner);
        if (reply == NULL) {
                err = ERR_TIMEOUT;
                buf_str(&why, "Redis did not answer when asked for its settings");
        } else if (asking.wanted == DURABILITY_MEMORY) {
                err = OK; /* any answer will do: nothing was promised */
        } else if (redis_type(reply) == REDIS_ERROR && is_busy(reply)) {
                err = ERR_TIMEOUT;
                buf_str(&why, redis_text(reply, NULL));
        } else if (redis_type(reply) == REDIS_ERROR) {
                err = ERR_IO;
                buf_printf(
                    &why,
                    "Redis does not show its settings (%s): allow the user +config|get, or ask "
                    "for durability memory",
                    redis_text(reply, NULL));
        } else {
                err = judge(reply, asking.wanted, &why);
        }
        asking.done(asking.owner, err, why.failed || why.data == NULL ? "" : why.data);
        buf_fini(&why);
}

enum err durability_check(struct redis *redis, enum durability_mode wanted, durability_fn *done,
                          void *owner)
{
        const char *const ping[] = { "PING" };
        const char *config[2 + countof(settings)] = { "CONFIG", "GET" };
        struct asking *asking = malloc(sizeof(*asking));
        enum err err;

        if (asking == NULL)
                return ERR_NOMEM;
        *asking = (struct asking){ wanted, done, owner };
        for (size_t i = 0; i < countof(settings); i++)
                config[2 + i] = settings[i].name;
        if (wanted == DURABILITY_MEMORY)
                err = redis_command(redis, on_answer, asking, 1, ping, NULL);
        else
                err = redis_command(redis, on_answer, asking, countof(config), config, NULL);
        if (err != OK)
                free(asking);
        return err;
}
