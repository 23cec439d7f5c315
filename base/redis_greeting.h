/* base/redis_greeting.h -- what a link says first, and whether the answers let it come up: AUTH,
 * SELECT, CLIENT SETNAME, INFO (who are you?), EXISTS slot_key (cluster: is it yours?), PING (can
 * you serve?). Pure. */
#pragma once

#include "base/redis.h"

enum redis_step {
        STEP_AUTH,
        STEP_SELECT,
        STEP_NAME,
        STEP_INFO,
        STEP_EXISTS,
        STEP_PING,
        REDIS_STEPS
};

struct redis_words {
        int argc; /* 0: this link has no need of the step */
        const char *argv[3];
        char number[12];
};
void redis_greeting_words(const struct redis_options *options, enum redis_step step,
                          struct redis_words *ret_words);

/* An error that answered AUTH, as it may be shown: Redis repeats the arguments of a command that it
 * does not know, cut off somewhere, and AUTH may have been renamed. Borrowed from `text`, or
 * static. */
const char *redis_greeting_auth_error(const char *text, const char *password);

/* False: the link must not come up, `why` says it to a person. INFO's answer goes into *server.
 * `peer` is for the sentence. A MOVED is accepted here: to follow it is the link's business. */
must_check bool redis_greeting_accepts(const struct redis_options *options, enum redis_step step,
                                       const struct redis_reply *reply, const char *peer,
                                       struct redis_server *server, char why[256]);
