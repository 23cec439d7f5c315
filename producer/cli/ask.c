/* producer/cli/ask.c -- see ask.h. */
#include "producer/cli/ask.h"

#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "producer/cli/again.h"
#include "producer/cli/show.h"

#define AUDIT_WHO_MAX  128 /* bytes that a node keeps of it */
#define TOKEN_MAX      4096
#define URL_MAX        1024
#define TIMEOUT_MS     5000 /* a node answers within 2 s, or says that it cannot */
#define REPEAT_WAIT_MS 300  /* before the first repeat; doubles, with jitter */

bool ask_base_url(const char *admin, char *out, size_t size)
{
        const char *host = strncmp(admin, "http://", 7) == 0 ? admin + 7 : admin;
        size_t len = strlen(host);

        if (len > 0 && host[len - 1] == '/')
                len--;
        if (len == 0 || len + 8 > size || strcspn(host, "/ ?#") < len)
                return false;
        snprintf(out, size, "http://%.*s", (int)len, host);
        return true;
}

enum ask_verdict ask_judge(enum err err, int status, bool changes, bool was_unknown)
{
        bool is_lost = err == ERR_TIMEOUT || err == ERR_IO;

        if (err == ERR_UNAVAILABLE || (is_lost && !changes))
                return was_unknown ? ASK_UNKNOWN : ASK_UNREACHABLE;
        if (is_lost)
                return ASK_UNKNOWN;
        if (err != OK)
                return was_unknown ? ASK_UNKNOWN : ASK_REFUSED;
        if (status >= 200 && status < 300)
                return ASK_DONE;
        /* 503 says that this try did nothing; an earlier one may have. Another 4xx settles it: had
         * the first try been carried out, the key would have brought back its result. */
        if (status == 503 || status == 429)
                return was_unknown ? ASK_UNKNOWN : ASK_REFUSED;
        return status >= 500 && changes ? ASK_UNKNOWN : ASK_REFUSED;
}

/* --- the request ---------------------------------------------------------------------------- */

struct attempt {
        struct http_ask ask;
        unsigned n_headers;
        char url[URL_MAX];
        char authorization[TOKEN_MAX + 8];
        char if_match[32];
        char actor[AUDIT_WHO_MAX + 1];
};

static void add_header(struct attempt *attempt, const char *name, const char *value)
{
        check(attempt->n_headers < HTTP_CLIENT_HEADERS_MAX);
        attempt->ask.headers[attempt->n_headers++] = (struct http_header){ name, value };
}

/* Who types this, for the node's audit trail: a claim. */
static void name_actor(char *out, size_t size)
{
        char host[HOST_NAME_MAX + 1] = "", room[4096];
        struct passwd entry, *user = NULL;

        /* Not getpwuid(): several threads put bundles at once, and it has one answer for all. */
        if (getpwuid_r(geteuid(), &entry, room, sizeof(room), &user) != 0)
                user = NULL;
        (void)gethostname(host, sizeof(host) - 1);
        snprintf(out, size, "%s@%s", user != NULL ? user->pw_name : "?",
                 host[0] != '\0' ? host : "?");
}

static bool read_token(const char *path, char *out, size_t size)
{
        FILE *file = fopen(path, "re");
        size_t len;

        if (file == NULL) {
                cli_say("cannot read the token file %s: %m", path);
                return false;
        }
        len = fread(out, 1, size - 1, file);
        fclose(file);
        while (len > 0 && strchr(" \t\r\n", out[len - 1]) != NULL)
                len--;
        out[len] = '\0';
        if (len == 0 || strpbrk(out, " \t\r\n") != NULL) {
                cli_say("the token file %s should hold one token and nothing else.", path);
                return false;
        }
        return true;
}

static bool prepare(const struct cli *cli, const char *method, const char *path, const char *type,
                    const void *body, size_t len, struct attempt *attempt)
{
        *attempt = (struct attempt){
                .ask = { .method = method, .body = body, .body_len = len, .timeout_ms = TIMEOUT_MS }
        };
        if (!ask_base_url(cli->admin, attempt->url, sizeof(attempt->url) - strlen(path))) {
                cli_say("`%.200s` is not the address of a node. Example: --admin "
                        "http://127.0.0.1:9090",
                        cli->admin);
                return false;
        }
        strcat(attempt->url, path);
        attempt->ask.url = attempt->url;
        if (type != NULL)
                add_header(attempt, "Content-Type", type);
        if (strcmp(method, "POST") == 0)
                add_header(attempt, "Idempotency-Key", cli->key);
        if (strcmp(method, "GET") != 0) {
                name_actor(attempt->actor, sizeof(attempt->actor));
                add_header(attempt, "Kickoff-Actor", attempt->actor);
        }
        if (cli->if_version != 0 && strcmp(method, "POST") == 0) {
                snprintf(attempt->if_match, sizeof(attempt->if_match), "\"%lld\"",
                         (long long)cli->if_version);
                add_header(attempt, "If-Match", attempt->if_match);
        }
        if (cli->token_file != NULL) {
                char token[TOKEN_MAX];

                if (!read_token(cli->token_file, token, sizeof(token)))
                        return false;
                snprintf(attempt->authorization, sizeof(attempt->authorization), "Bearer %s",
                         token);
                add_header(attempt, "Authorization", attempt->authorization);
        }
        return true;
}

/* --- what came of it ------------------------------------------------------------------------ */

void ask_problem_text(const struct cli *cli, int status, const json_t *problem, struct buf *out)
{
        const char *title = json_string_value(json_object_get(problem, "title"));
        const char *detail = json_string_value(json_object_get(problem, "detail"));
        const json_t *legal = json_object_get(problem, "legal");
        const json_t *event = json_object_get(problem, "event");

        if (title != NULL)
                show_text(title, out);
        else
                buf_printf(out, "the node answered %d", status);
        if (detail != NULL) {
                buf_str(out, ": ");
                show_text(detail, out);
        }
        buf_char(out, '\n');
        if (json_array_size(legal) > 0) {
                buf_str(out, "  Possible now: ");
                for (size_t i = 0; i < json_array_size(legal); i++) {
                        buf_str(out, i > 0 ? ", " : "");
                        show_text(json_string_value(json_array_get(legal, i)), out);
                }
                buf_char(out, '\n');
        }
        if (json_is_object(event)) {
                buf_str(out, "  ");
                show_event_line(cli, event, out);
        }
}

static void say_refused(const struct cli *cli, const struct http_answer *answer)
{
        json_t *problem = json_loadb(answer->body, answer->body_len, 0, NULL);
        struct buf text = BUF_INIT;

        if (cli->json && problem != NULL)
                puts(answer->body);
        ask_problem_text(cli, answer->status, problem, &text);
        if (!text.failed)
                fprintf(stderr, "kickoff: %s", text.data);
        if (answer->status == 401 && cli->token_file == NULL)
                fputs("  Give the admin token with --token-file FILE.\n", stderr);
        buf_fini(&text);
        json_decref(problem);
}

static void say_unknown(const struct cli *cli, const struct attempt *attempt)
{
        struct buf again = BUF_INIT;

        cli_say("outcome unknown: the node did not confirm %s in time.", attempt->ask.url);
        fprintf(stderr,
                "  It may or may not have happened. Asking again is safe, it happens at most "
                "once:\n");
        again_text(cli, &again);
        if (!again.failed)
                fprintf(stderr, "  %s\n", again.data);
        if (strcmp(attempt->ask.method, "POST") == 0)
                fprintf(stderr,
                        "  What became of it, without asking for it again: kickoff request %s\n",
                        cli->key);
        buf_fini(&again);
}

static enum cli_exit take_answer(struct http_answer *answer, json_t **ret_answer, char **ret_text)
{
        json_t *json = json_loadb(answer->body, answer->body_len, JSON_DECODE_ANY, NULL);

        if (json == NULL) {
                cli_say("the node answered %d, but not in JSON: is this the admin address?",
                        answer->status);
                return CLI_REFUSED;
        }
        /* Both ports have a /v1/events; only one of them speaks in messages. */
        if (json_is_object(json) && json_object_get(json, "t") != NULL) {
                cli_say(
                    "that is where devices connect. Give --admin the node's admin address, such "
                    "as http://127.0.0.1:9090");
                json_decref(json);
                return CLI_REFUSED;
        }
        *ret_answer = json;
        *ret_text = answer->body;
        answer->body = NULL; /* taken */
        return CLI_DONE;
}

static void pause_before_repeat(unsigned repeat)
{
        uint64_t step_ms = (uint64_t)REPEAT_WAIT_MS << repeat;
        struct rng rng;

        rng_seed(&rng, rng_secure_u64());
        usleep((useconds_t)((step_ms / 2 + rng_below(&rng, step_ms)) * 1000));
}

enum cli_exit ask_bytes(const struct cli *cli, const char *method, const char *path,
                        const char *type, const void *body, size_t len, json_t **ret_answer,
                        char **ret_text)
{
        bool changes = strcmp(method, "GET") != 0, was_unknown = false;
        struct attempt attempt;

        if (!prepare(cli, method, path, type, body, len, &attempt))
                return CLI_USAGE;
        for (unsigned i = 0; i < ASK_TRIES; i++) {
                struct http_answer answer = { 0 };
                enum err err = http_client_ask(&attempt.ask, &answer);
                enum ask_verdict verdict = ask_judge(err, answer.status, changes, was_unknown);
                enum cli_exit result = CLI_UNREACHABLE;

                if (verdict == ASK_DONE)
                        result = take_answer(&answer, ret_answer, ret_text);
                else if (verdict == ASK_REFUSED && err != OK)
                        cli_say("cannot ask %s: %s", attempt.url, err_name(err));
                else if (verdict == ASK_REFUSED)
                        say_refused(cli, &answer);
                else if (verdict == ASK_UNREACHABLE)
                        cli_say("no answer from %s. Is the node running, and is this its --admin "
                                "address?",
                                attempt.url);
                if (err == OK)
                        http_answer_fini(&answer);
                if (verdict != ASK_UNKNOWN)
                        return verdict == ASK_REFUSED ? CLI_REFUSED : result;
                was_unknown = true;
                if (i + 1 < ASK_TRIES)
                        pause_before_repeat(i);
        }
        say_unknown(cli, &attempt);
        return CLI_UNKNOWN;
}

enum cli_exit ask_once(const struct cli *cli, const char *path, json_t **ret_answer,
                       char **ret_text)
{
        enum cli_exit result = CLI_REFUSED; /* Redis is away, say: it may come back */
        struct http_answer answer = { 0 };
        struct attempt attempt;

        if (!prepare(cli, "GET", path, NULL, NULL, 0, &attempt))
                return CLI_USAGE;
        if (http_client_ask(&attempt.ask, &answer) != OK)
                return CLI_UNREACHABLE;
        if (answer.status == 200)
                result = take_answer(&answer, ret_answer, ret_text);
        http_answer_fini(&answer);
        return result;
}

bool ask_once_bytes(const struct cli *cli, const char *method, const char *path, const char *type,
                    const void *body, size_t len, struct ask_try *ret_try)
{
        struct http_answer answer = { 0 };
        struct attempt attempt;

        if (!prepare(cli, method, path, type, body, len, &attempt))
                return false;
        *ret_try = (struct ask_try){ .err = http_client_ask(&attempt.ask, &answer) };
        if (ret_try->err != OK)
                return true;
        ret_try->status = answer.status;
        ret_try->json = json_loadb(answer.body, answer.body_len, 0, NULL);
        if (answer.retry_after != NULL)
                ret_try->retry_after_s = (unsigned)strtoul(answer.retry_after, NULL, 10);
        http_answer_fini(&answer);
        return true;
}

void ask_try_text(const struct ask_try *got, char *out, size_t size)
{
        const char *title = json_string_value(json_object_get(got->json, "title"));
        const char *detail = json_string_value(json_object_get(got->json, "detail"));
        struct buf text = BUF_INIT;

        if (title != NULL)
                show_text(title, &text);
        else
                buf_printf(&text, "the node answered %d", got->status);
        if (detail != NULL) {
                buf_str(&text, ": ");
                show_text(detail, &text);
        }
        snprintf(out, size, "%s", text.failed ? "out of memory" : text.data);
        buf_fini(&text);
}

enum cli_exit ask_plan(const struct cli *cli, const struct cli_plan *plan, json_t **ret_answer,
                       char **ret_text)
{
        char *body = plan->body != NULL ? json_dumps(plan->body, JSON_COMPACT) : NULL;
        enum cli_exit result;

        if (plan->body != NULL && body == NULL) {
                cli_say("out of memory");
                return CLI_REFUSED;
        }
        result = ask_bytes(cli, plan->method, plan->path, body != NULL ? "application/json" : NULL,
                           body, body != NULL ? strlen(body) : 0, ret_answer, ret_text);
        free(body);
        return result;
}
