/* Devices that no SDK of ours serves: curl, against a real node, by Server-Sent Events and by
 * polling. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/integration/harness.h"

/* --- curl ------------------------------------------------------------------------------------ */

struct curl {
        pid_t pid;
        FILE *out;
};

#define ARGS_MAX 8

/* curl -sN with these arguments (NULL: left out) and the node's address before `target`. */
static struct curl curl_start(const struct test_node *node, const char *target,
                              const char *const args[ARGS_MAX])
{
        const char *argv[ARGS_MAX + 6] = { "curl", "-sN", "--max-time", "60" };
        char url[256];
        struct curl curl;
        int pipes[2];
        size_t n = 4;

        snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", (unsigned)node->port, target);
        for (size_t i = 0; args != NULL && i < ARGS_MAX && args[i] != NULL; i++)
                argv[n++] = args[i];
        argv[n++] = url;
        argv[n] = NULL;
        cr_assert(zero(int, pipe(pipes)));
        curl.pid = fork();
        cr_assert(ge(int, curl.pid, 0));
        if (curl.pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                dup2(pipes[1], STDOUT_FILENO);
                close(pipes[0]);
                close(pipes[1]);
                execvp("curl", (char *const *)(uintptr_t)argv);
                _exit(127);
        }
        close(pipes[1]);
        curl.out = fdopen(pipes[0], "r");
        return curl;
}

/* Its exit status, or -1 if `stop` had to end it. */
static int curl_end(struct curl *curl, bool stop)
{
        int status;

        if (stop)
                kill(curl->pid, SIGKILL);
        cr_assert(eq(int, waitpid(curl->pid, &status, 0), curl->pid));
        fclose(curl->out);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* All that it says until it ends. */
static char *curl_all(const struct test_node *node, const char *target,
                      const char *const args[ARGS_MAX], int *ret_status)
{
        struct curl curl = curl_start(node, target, args);
        char *all = calloc(1, 65536);
        size_t len = fread(all, 1, 65535, curl.out);

        cr_assert(lt(sz, len, 65535));
        *ret_status = curl_end(&curl, false);
        return all;
}

/* --- blocks ---------------------------------------------------------------------------------- */

struct block {
        char id[64], data[8192];
        long retry_ms;
};

/* The next block that has data, comments and the first one left out. False at the end. */
static bool next_block(struct curl *curl, struct block *block)
{
        char line[8192];

        memset(block, 0, sizeof(*block));
        while (fgets(line, sizeof(line), curl->out) != NULL) {
                line[strcspn(line, "\n")] = '\0';
                if (line[0] == '\0' && block->data[0] != '\0')
                        return true;
                if (strncmp(line, "id: ", 4) == 0)
                        snprintf(block->id, sizeof(block->id), "%.63s", line + 4);
                else if (strncmp(line, "data: ", 6) == 0)
                        snprintf(block->data, sizeof(block->data), "%.8100s", line + 6);
                else if (strncmp(line, "retry: ", 7) == 0)
                        block->retry_ms = strtol(line + 7, NULL, 10);
        }
        return false;
}

static struct message next_message(struct curl *curl, struct block *block)
{
        struct message message;

        if (!next_block(curl, block))
                give_up("the stream has ended");
        cr_assert(
            eq(int, message_decode(block->data, strlen(block->data), ENCODING_JSON, &message), OK),
            "%s", block->data);
        return message;
}

static void expect(struct curl *curl, enum message_type type, struct block *block)
{
        struct message message = next_message(curl, block);

        cr_assert(eq(int, message.type, type), "%s", block->data);
        message_fini(&message);
}

/* --- streams --------------------------------------------------------------------------------- */

static void five_stages(const struct test_node *node, const char *name)
{
        for (int i = 0; i < 5; i++) {
                char body[64];

                snprintf(body, sizeof(body), "{\"stage\":\"%s-%d\"}", name, i);
                change(node, "POST", "/v1/events/final/stage", body);
        }
}

static void expect_stages(struct curl *curl, const char *name, struct block *block)
{
        for (int i = 0; i < 5; i++) {
                struct message message = next_message(curl, block);
                char stage[STAGE_MAX + 1], token[TOKEN_TEXT_MAX + 1];

                snprintf(stage, sizeof(stage), "%s-%d", name, i);
                cr_assert(eq(int, message.type, MESSAGE_SIGNAL), "%s", block->data);
                cr_assert(eq(str, message.signal.state.stage, stage));
                token_format(&message.signal.token, token);
                cr_assert(eq(str, block->id, token));
        }
}

Test(stream, curl_follows_an_event_and_resumes_by_last_event_id_with_exactly_what_it_missed)
{
        struct test_node node = { 0 };
        struct block block;
        struct curl curl;
        char field[128];

        node_start(&node, NULL);
        create_event(&node, "final");
        change(&node, "POST", "/v1/events/final/start", "{}");
        curl = curl_start(&node, "/v1/stream?device=tv-1", NULL);
        expect(&curl, MESSAGE_HELLO, &block);
        expect(&curl, MESSAGE_RESET, &block);
        five_stages(&node, "first");
        expect_stages(&curl, "first", &block);
        curl_end(&curl, true);
        snprintf(field, sizeof(field), "Last-Event-ID: %s", block.id);
        five_stages(&node, "missed");
        curl = curl_start(&node, "/v1/stream?device=tv-1",
                          (const char *const[ARGS_MAX]){ "-H", field });
        expect(&curl, MESSAGE_HELLO, &block);
        cr_assert(strstr(block.data, "\"recovered\":true") != NULL, "%s", block.data);
        expect_stages(&curl, "missed", &block);
        five_stages(&node, "then");
        expect_stages(&curl, "then", &block);
        cr_assert(eq(i64, node_metric(&node, "kickoff_sessions{transport=\"sse\"}"), 1));
        curl_end(&curl, true);
        node_end(&node);
}

Test(stream, a_node_that_leaves_says_goaway_and_ends_the_stream)
{
        struct test_node node = { 0 };
        struct message message;
        struct block block;
        struct curl curl;

        node_start(&node, "--drain=2s", NULL);
        create_event(&node, "final");
        curl = curl_start(&node, "/v1/stream?device=tv-1", NULL);
        expect(&curl, MESSAGE_HELLO, &block);
        expect(&curl, MESSAGE_RESET, &block);
        kill(node.pid, SIGTERM);
        message = next_message(&curl, &block);
        cr_assert(eq(int, message.type, MESSAGE_GOAWAY), "%s", block.data);
        cr_assert(eq(int, message.goaway.reason, GOAWAY_DRAIN));
        cr_assert(ge(long, block.retry_ms, message.goaway.min_ms));
        cr_assert(le(long, block.retry_ms, message.goaway.max_ms));
        cr_assert(not(next_block(&curl, &block)), "%s", block.data);
        cr_assert(zero(int, curl_end(&curl, false)), "curl calls that no whole answer");
        cr_assert(eq(int, node_stop(&node, 0), 0));
        node_end(&node);
}

Test(stream, what_it_is_not_for_is_refused)
{
        static const struct {
                const char *args[ARGS_MAX], *target;
                const char *status;
        } table[] = {
                { { "-i", "-I" }, "/v1/stream?device=tv-1", "HTTP/1.1 405 " },
                { { "-i", "-0" }, "/v1/stream?device=tv-1", "HTTP/1.1 505 " },
                { { "-i", "-XPOST" }, "/v1/stream?device=tv-1", "HTTP/1.1 405 " },
                { { "-i" }, "/v1/stream", "HTTP/1.1 400 " },
        };
        struct test_node node = { 0 };

        node_start(&node, NULL);
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                int status;
                char *all = curl_all(&node, table[i].target, table[i].args, &status);

                cr_assert(zero(int, strncmp(all, table[i].status, strlen(table[i].status))), "%s",
                          all);
                free(all);
        }
        node_end(&node);
}

/* --- polling --------------------------------------------------------------------------------- */

Test(stream, who_can_only_poll_is_told_when_something_has_happened)
{
        struct test_node node = { 0 };
        char field[160] = "If-None-Match: ";
        char *all, *etag;
        int status;

        node_start(&node, NULL);
        create_event(&node, "final");
        all = curl_all(&node, "/v1/events", (const char *const[ARGS_MAX]){ "-i" }, &status);
        cr_assert(zero(int, status));
        cr_assert(zero(int, strncmp(all, "HTTP/1.1 200 ", 13)), "%s", all);
        cr_assert(strstr(all, "\r\nCache-Control: public, max-age=2\r\n") != NULL, "%s", all);
        cr_assert(strstr(all, "\r\nAccess-Control-Allow-Origin: *\r\n") != NULL, "%s", all);
        cr_assert(strstr(all, "\"event\":\"final\"") != NULL, "%s", all);
        etag = strstr(all, "\r\nETag: ");
        cr_assert(etag != NULL);
        etag += 8;
        snprintf(field + strlen(field), sizeof(field) - strlen(field), "%.*s",
                 (int)strcspn(etag, "\r"), etag);
        cr_assert(eq(chr, field[15], '"'), "strong");
        free(all);
        all = curl_all(&node, "/v1/events", (const char *const[ARGS_MAX]){ "-i", "-H", field },
                       &status);
        cr_assert(zero(int, strncmp(all, "HTTP/1.1 304 ", 13)), "%s", all);
        free(all);
        change(&node, "POST", "/v1/events/final/start", "{}");
        all = curl_all(&node, "/v1/events", (const char *const[ARGS_MAX]){ "-i", "-H", field },
                       &status);
        cr_assert(zero(int, strncmp(all, "HTTP/1.1 200 ", 13)), "%s", all);
        cr_assert(strstr(all, "\"stage\":\"live\"") != NULL, "%s", all);
        free(all);
        node_end(&node);
}
