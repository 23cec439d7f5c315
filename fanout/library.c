/* fanout/library.c -- puts kickoff.lua into Redis. Loading the same text again changes nothing, so
 * every node does it after each reconnect; Redis keeps it through restarts, and gives it to
 * replicas. */
#include "fanout/writer.h"

#include <stdlib.h>
#include <string.h>

extern const char kickoff_lua[];

struct load {
        library_done_fn *done;
        void *owner;
};

static void on_loaded(void *owner, const struct redis_reply *reply)
{
        struct load load = *(struct load *)owner;

        free(owner);
        if (reply == NULL)
                load.done(load.owner, ERR_TIMEOUT, "Redis did not answer to FUNCTION LOAD");
        else if (redis_type(reply) != REDIS_ERROR)
                load.done(load.owner, OK, "");
        else if (strstr(redis_text(reply, NULL), "unknown command") != NULL)
                load.done(load.owner, ERR_UNSUPPORTED,
                          "this Redis has no functions: it must be Redis 7.0 or newer, or Valkey");
        else
                load.done(load.owner, ERR_IO, redis_text(reply, NULL));
}

enum err library_load(struct redis *redis, library_done_fn *done, void *owner)
{
        const char *const argv[] = { "FUNCTION", "LOAD", "REPLACE", kickoff_lua };
        struct load *load = malloc(sizeof(*load));
        enum err err;

        if (load == NULL)
                return ERR_NOMEM;
        *load = (struct load){ done, owner };
        err = redis_command(redis, on_loaded, load, countof(argv), argv, NULL);
        if (err != OK)
                free(load);
        return err;
}
