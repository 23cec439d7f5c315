/* producer/cli/ask.h -- sends what was planned to the node, and says what came of it. A change
 * whose answer got lost is sent again with the same idempotency key, which is always safe; if there
 * is still no answer, it says so, names the key, and shows the command that asks again. */
#pragma once

#include "base/http_client.h"
#include "producer/cli/cli.h"

#define ASK_TRIES 4 /* the first, and 3 repeats */

/* CLI_DONE: *ret_answer (a new reference) and *ret_text (malloc'd) are the server's JSON. Otherwise
 * the reason was said on stderr and both are untouched. */
must_check enum cli_exit ask_plan(const struct cli *cli, const struct cli_plan *plan,
                                  json_t **ret_answer, char **ret_text);
/* The same for bytes that are not JSON; `type` is their content type, NULL = no body. */
must_check enum cli_exit ask_bytes(const struct cli *cli, const char *method, const char *path,
                                   const char *type, const void *body, size_t len,
                                   json_t **ret_answer, char **ret_text);

/* One GET, tried once; not a word on stderr if nobody answers there (CLI_UNREACHABLE), or not 200 (CLI_REFUSED). For
 * whoever looks on, and asks again anyway. */
must_check enum cli_exit ask_once(const struct cli *cli, const char *path, json_t **ret_answer,
                                  char **ret_text);

struct ask_try { /* what one try came to */
        enum err err; /* as http_client_ask has it */
        int status;
        unsigned retry_after_s; /* 0 = not named */
        json_t *json;           /* a new reference; NULL if the body was none */
};
/* One try, not a word on stderr, any thread (of one that has asked before: what the command line gets
 * wrong is said here and returns false, with *ret_try untouched). */
must_check bool ask_once_bytes(const struct cli *cli, const char *method, const char *path,
                               const char *type, const void *body, size_t len,
                               struct ask_try *ret_try);
/* The problem in it as one line: "TITLE: DETAIL", without control characters. */
void ask_try_text(const struct ask_try *got, char *out, size_t size);

enum ask_verdict { ASK_DONE, ASK_REFUSED, ASK_UNREACHABLE, ASK_UNKNOWN };
/* What one try means. `err` and `status` as http_client_ask gave them; `changes`: the request may
 * change something; `was_unknown`: an earlier try of this request ended unknown. Pure. */
enum ask_verdict ask_judge(enum err err, int status, bool changes, bool was_unknown);
/* "http://host:port" from what the user gave: "host:port", with or without http:// and a slash at
 * the end. False if it cannot be one. Pure. */
bool ask_base_url(const char *admin, char *out, size_t size);
/* A problem (RFC 9457) as text for people: "TITLE: DETAIL", then what is legal, then the event.
 * Pure. */
void ask_problem_text(const struct cli *cli, int status, const json_t *problem, struct buf *out);
