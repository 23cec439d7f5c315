/* producer/cli/watch.c -- `kickoff watch`: be a device, and print what it sees, line by line. The
 * SDK does all the work; here are the ends: --count, --for, Ctrl-C, and the place kept in a file.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "producer/cli/commands.h"
#include "producer/cli/watch_lines.h"

#define TURN_MS 100 /* so long may Ctrl-C take */

static const char *url, *device_id, *cohort, *since, *encoding, *token_file;
static int64_t count, for_ms;
static bool no_ack;

struct watch {
        struct kickoff_device *device;
        bool json, ever_connected, stopped, output_broke;
        int64_t signals;
        char seen[TOKEN_TEXT_MAX + 1]; /* of the last line printed: the SDK may be further by now */
        char kept[TOKEN_TEXT_MAX + 1]; /* what is in the token file */
};

static void print(struct watch *watch, struct buf *line)
{
        buf_char(line, '\n');
        if (!line->failed &&
            (fwrite(line->data, 1, line->len, stdout) != line->len || fflush(stdout) != 0))
                watch->output_broke = true; /* `| head` is how people stop it */
        buf_fini(line);
}

static void print_message(struct watch *watch, const struct message *message)
{
        struct buf line = BUF_INIT;

        watch_lines_message(message, watch->json, clock_wall_ms(),
                            kickoff_device_clock_offset_ms(watch->device), &line);
        print(watch, &line);
}

static void on_hello(void *owner, const struct hello *hello)
{
        struct watch *watch = owner;

        watch->ever_connected = true;
        print_message(watch, &(struct message){ .type = MESSAGE_HELLO, .hello = *hello });
}

static void on_signal(void *owner, const struct signal *signal)
{
        struct watch *watch = owner;

        if (count != 0 && watch->signals >= count)
                return;
        watch->signals++;
        token_format(&signal->token, watch->seen);
        print_message(watch, &(struct message){ .type = MESSAGE_SIGNAL, .signal = *signal });
        /* It acts by printing: at once, so not on what is to be held back. */
        if (signal->state.at <= clock_wall_ms() + kickoff_device_clock_offset_ms(watch->device))
                kickoff_device_activated(watch->device, signal->token.seq);
}

static void on_reset(void *owner, const struct reset *reset)
{
        struct watch *watch = owner;

        token_format(&reset->token, watch->seen);
        print_message(watch, &(struct message){ .type = MESSAGE_RESET, .reset = *reset });
}

static void on_message(void *owner, const struct device_message *message)
{
        print_message(owner, &(struct message){ .type = MESSAGE_MESSAGE, .message = *message });
}

static void on_goaway(void *owner, const struct goaway *goaway)
{
        print_message(owner, &(struct message){ .type = MESSAGE_GOAWAY, .goaway = *goaway });
}

static void on_state(void *owner, enum kickoff_device_state state, const char *why)
{
        struct watch *watch = owner;
        struct buf line = BUF_INIT;

        watch->stopped = state == KICKOFF_DEVICE_STOPPED;
        watch_lines_state(state, why, watch->json, clock_wall_ms(), &line);
        print(watch, &line);
}

/* --- the place kept in a file --------------------------------------------------------------- */

/* Anything in the file but a token means that it is somebody else's: it must not be overwritten. */
static bool read_kept(struct watch *watch)
{
        FILE *file = fopen(token_file, "re");
        struct token token;
        size_t len;

        if (file == NULL && errno == ENOENT)
                return true;
        if (file == NULL) {
                cli_say("cannot read %s: %m", token_file);
                return false;
        }
        len = fread(watch->kept, 1, sizeof(watch->kept) - 1, file);

        bool more = getc(file) != EOF;

        fclose(file);
        while (len > 0 && (watch->kept[len - 1] == '\n' || watch->kept[len - 1] == ' '))
                len--;
        watch->kept[len] = '\0';
        if (len == 0 || (!more && token_parse(watch->kept, len, &token) == OK))
                return true;
        cli_say("%s holds something else than a resume token; it is left alone.", token_file);
        return false;
}

/* By way of a second file, so that a crash leaves the old place or the new one. */
static bool keep_token(struct watch *watch)
{
        const char *token = watch->seen;
        char aside[4096];
        FILE *file;

        if (token_file == NULL || token[0] == '\0' || strcmp(token, watch->kept) == 0)
                return true;
        snprintf(aside, sizeof(aside), "%.4000s.%d.tmp", token_file, (int)getpid());
        file = fopen(aside, "we");
        if (file == NULL || fprintf(file, "%s\n", token) < 0 || fclose(file) != 0 ||
            rename(aside, token_file) != 0) {
                cli_say("cannot keep the resume token in %s: %m", token_file);
                return false;
        }
        snprintf(watch->kept, sizeof(watch->kept), "%s", token);
        return true;
}

/* --- the loop ------------------------------------------------------------------------------- */

static bool was_interrupted(const sigset_t *signals)
{
        static const struct timespec at_once = { 0, 0 };

        return sigtimedwait(signals, NULL, &at_once) > 0;
}

static enum cli_exit loop(struct watch *watch, const sigset_t *signals)
{
        uint64_t end_ms = clock_mono_ms() + (uint64_t)for_ms;

        for (;;) {
                uint64_t now_ms = clock_mono_ms();
                unsigned turn_ms = TURN_MS;

                if (!keep_token(watch))
                        return CLI_REFUSED;
                if (was_interrupted(signals) || watch->output_broke ||
                    (count != 0 && watch->signals >= count))
                        return CLI_DONE;
                if (watch->stopped)
                        return CLI_REFUSED;
                if (for_ms != 0 && now_ms >= end_ms)
                        break;
                if (for_ms != 0 && end_ms - now_ms < turn_ms)
                        turn_ms = (unsigned)(end_ms - now_ms);
                kickoff_device_service(watch->device, turn_ms);
        }
        if (!watch->ever_connected) {
                cli_say("no node let us in at %s.", url);
                return CLI_UNREACHABLE;
        }
        if (count != 0) {
                cli_say("only %lld of %lld signals came in that time.", (long long)watch->signals,
                        (long long)count);
                return CLI_REFUSED;
        }
        return CLI_DONE;
}

static enum cli_exit run_watch(const struct cli *cli, char *const *operands, unsigned n)
{
        struct watch watch = { .json = cli->json };
        char made_id[40];
        sigset_t signals;
        enum cli_exit result;

        (void)operands, (void)n;
        if (token_file != NULL && !read_kept(&watch))
                return CLI_USAGE;
        /* An id of its own: two watches must not replace each other. */
        snprintf(made_id, sizeof(made_id), "watch-%016llx", (unsigned long long)rng_secure_u64());

        struct kickoff_device_options options = {
                .url = url,
                .device = device_id != NULL ? device_id : made_id,
                .cohort = cohort,
                .since = since != NULL ? since : watch.kept,
                .encoding = strcmp(encoding, "msgpack") == 0 ? ENCODING_MSGPACK : ENCODING_JSON,
                .no_ack = no_ack,
                .on_hello = on_hello,
                .on_signal = on_signal,
                .on_reset = on_reset,
                .on_message = on_message,
                .on_goaway = on_goaway,
                .on_state = on_state,
                .owner = &watch,
        };

        if (kickoff_device_create(&options, &watch.device) != OK) {
                cli_say(
                    "the SDK refuses these: look at --url (ws://HOST:PORT), --device, --cohort and "
                    "--since.");
                return CLI_USAGE;
        }
        sigemptyset(&signals);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGTERM);
        sigprocmask(SIG_BLOCK, &signals, NULL);
        signal(SIGPIPE, SIG_IGN);
        result = loop(&watch, &signals);
        kickoff_device_destroy(watch.device);
        return result;
}

static bool is_encoding(const char *text, const char **ret_why)
{
        *ret_why = "neither json nor msgpack";
        return strcmp(text, "json") == 0 || strcmp(text, "msgpack") == 0;
}

static const struct option watch_options[] = {
        { .name = "url",
          .type = OPTION_TEXT,
          .value = &url,
          .value_name = "URL",
          .default_value = "ws://127.0.0.1:8080",
          .help = "Where devices connect." },
        { .name = "device",
          .type = OPTION_TEXT,
          .value = &device_id,
          .value_name = "ID",
          .help = "Be this device. Without it, one with a random id." },
        { .name = "cohort",
          .type = OPTION_TEXT,
          .value = &cohort,
          .value_name = "COHORT",
          .help = "Belong to this cohort." },
        { .name = "since",
          .type = OPTION_TEXT,
          .value = &since,
          .value_name = "TOKEN",
          .help = "Resume after this token: see what came since." },
        { .name = "token-file",
          .type = OPTION_TEXT,
          .value = &token_file,
          .value_name = "FILE",
          .help = "Resume from the token in this file, and keep the newest there." },
        { .name = "encoding",
          .type = OPTION_TEXT,
          .value = &encoding,
          .value_name = "json|msgpack",
          .default_value = "json",
          .accepts = is_encoding,
          .help = "How messages come." },
        { .name = "no-ack", .type = OPTION_FLAG, .value = &no_ack, .help = "Acknowledge nothing." },
        { .name = "count",
          .type = OPTION_NUMBER,
          .value = &count,
          .default_value = "0",
          .min = 0,
          .max = INT64_MAX,
          .value_name = "N",
          .help = "Stop after so many signals; 0 = go on." },
        { .name = "for",
          .type = OPTION_DURATION,
          .value = &for_ms,
          .max = 366 * 86400000LL,
          .value_name = "SPAN",
          .help = "Stop after this time; with --count, too few signals by then is exit status 1." },
};

const struct cli_command watch_command = {
        .name = "watch",
        .operands = "",
        .summary = "Connect as a device and print what it is sent.",
        .options = watch_options,
        .n_options = countof(watch_options),
        .examples = "Examples:\n  kickoff watch\n  kickoff watch --json --count 1 --for 10s\n",
        .own_options = true,
        .run = run_watch,
};
