/* base/redis_greeting.c -- decides which answers of a server are good enough. */
#include "base/redis_greeting.h"

#include <stdio.h>
#include <string.h>

#define WHY_SIZE 256

void redis_greeting_words(const struct redis_options *options, enum redis_step step,
                          struct redis_words *ret_words)
{
        const struct redis_address *address = &options->address;
        struct redis_words *w = ret_words;

        memset(w, 0, sizeof(*w));
        switch (step) {
        case STEP_AUTH:
                w->argv[w->argc++] = "AUTH";
                if (address->user[0] != '\0')
                        w->argv[w->argc++] = address->user;
                w->argv[w->argc++] = address->password;
                if (address->user[0] == '\0' && address->password[0] == '\0')
                        w->argc = 0;
                break;
        case STEP_SELECT:
                snprintf(w->number, sizeof(w->number), "%u", address->database);
                w->argv[0] = "SELECT";
                w->argv[1] = w->number;
                w->argc = address->database != 0 ? 2 : 0;
                break;
        case STEP_NAME:
                w->argv[0] = "CLIENT";
                w->argv[1] = "SETNAME";
                w->argv[2] = options->name;
                w->argc = 3;
                break;
        case STEP_INFO:
                w->argv[0] = "INFO";
                w->argv[1] = "server";
                w->argv[2] = "replication";
                w->argc = 3;
                break;
        case STEP_EXISTS:
                w->argv[0] = "EXISTS";
                w->argv[1] = options->slot_key;
                w->argc = options->slot_key != NULL ? 2 : 0;
                break;
        case STEP_PING:
                w->argv[0] = "PING";
                w->argc = 1;
                break;
        case REDIS_STEPS:
                break;
        }
}

static bool begins(const char *text, const char *with)
{
        return strncmp(text, with, strlen(with)) == 0;
}

static bool refuse(char why[WHY_SIZE], const char *what, const char *detail)
{
        snprintf(why, WHY_SIZE, "%s: %.200s", what, detail);
        return false;
}

const char *redis_greeting_auth_error(const char *text, const char *password)
{
        if (begins(text, "ERR unknown command"))
                return "the server does not know the command";
        if (password[0] != '\0' && strstr(text, password) != NULL)
                return "refused, in words that repeat the password and are not shown";
        return text;
}

/* A name helps whoever reads CLIENT LIST; a refusal harms nobody. But the first answer may be the
 * reason why the server is about to close the connection. */
static bool accepts_name(const struct redis_reply *reply, char why[WHY_SIZE])
{
        const char *text = redis_text(reply, NULL);

        if (redis_type(reply) != REDIS_ERROR ||
            (!begins(text, "ERR max number of clients") && !begins(text, "DENIED")))
                return true;
        return refuse(why, "refused", text);
}

/* In a cluster the slot's owner is wanted, and EXISTS finds out. Without .primary it is nobody's
 * business who answers, so that a user without +info gets in. */
static bool accepts_info(const struct redis_options *options, const struct redis_reply *reply,
                         const char *peer, struct redis_server *server, char why[WHY_SIZE])
{
        const char *text = redis_text(reply, NULL);

        if (redis_type(reply) == REDIS_STRING && redis_parse_info(text, server) == OK) {
                if (!options->primary || server->is_primary ||
                    (server->is_cluster && options->slot_key != NULL))
                        return true;
                snprintf(why, WHY_SIZE, "%.90s is a replica of %.70s%s", peer,
                         server->primary[0] != '\0' ? server->primary : "another",
                         options->address.scheme == REDIS_SENTINEL
                             ? ", although a sentinel names it as the primary"
                             : ": give the primary, or sentinel://host:26379/name");
                return false;
        }
        if (!options->primary && options->slot_key == NULL)
                return true;
        if (begins(text, "NOPERM"))
                text =
                    "NOPERM: this Redis user needs +info, to see whether this is a primary, or a cluster";
        else if (redis_type(reply) != REDIS_ERROR)
                text = "the server does not say who it is";
        return refuse(why, "INFO", text);
}

/* Outside of a cluster the question is idle. ASK and TRYAGAIN come from the slot's owner. */
static bool accepts_exists(const struct redis_reply *reply, const struct redis_server *server,
                           char why[WHY_SIZE])
{
        const char *text = redis_text(reply, NULL);

        if (redis_type(reply) != REDIS_ERROR || !server->is_cluster || begins(text, "MOVED ") ||
            begins(text, "ASK ") || begins(text, "TRYAGAIN"))
                return true;
        return refuse(why, "EXISTS", text);
}

/* PING ends the greeting because Redis answers it with an error for as long as it cannot serve: not
 * authenticated, loading its data, a replica cut off from its primary. The others may pass then. */
bool redis_greeting_accepts(const struct redis_options *options, enum redis_step step,
                            const struct redis_reply *reply, const char *peer,
                            struct redis_server *server, char why[WHY_SIZE])
{
        static const char *const names[REDIS_STEPS] = { "AUTH", "SELECT", "CLIENT",
                                                        "INFO", "EXISTS", "PING" };

        switch (step) {
        case STEP_AUTH:
                return redis_type(reply) != REDIS_ERROR ||
                       refuse(why, "AUTH",
                              redis_greeting_auth_error(redis_text(reply, NULL),
                                                        options->address.password));
        case STEP_NAME:
                return accepts_name(reply, why);
        case STEP_INFO:
                return accepts_info(options, reply, peer, server, why);
        case STEP_EXISTS:
                return accepts_exists(reply, server, why);
        default:
                return redis_type(reply) != REDIS_ERROR ||
                       refuse(why, names[step], redis_text(reply, NULL));
        }
}
