/* producer/cli/report.c -- `kickoff report`: how a signal is getting through. With --follow it asks
 * twice a second, and draws anew on a terminal, or prints a line per change; until all have
 * acknowledged, the time is over, or Ctrl-C, which is left to end the program as it ends any other:
 * at once, also while a node is slow to answer, and as a failure to whoever waits for the result.
 * What a report looks like is report_view.c's. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "producer/cli/ask.h"
#include "producer/cli/commands.h"
#include "producer/cli/report_view.h"

#define ASK_EVERY_MS 500 /* nodes write their parts as often */

static bool follow;
static int64_t for_ms;

struct screen {
        bool is_terminal;
        unsigned lines; /* of what was drawn last: to be overwritten */
};

static bool plan_report(const struct cli *cli, char *const *operands, unsigned n,
                        struct cli_plan *plan)
{
        size_t len = strlen(operands[0]);

        (void)cli, (void)n;
        if (strcmp(operands[0], "latest") == 0) { /* `head` of the answer is its number */
                snprintf(plan->path, sizeof(plan->path), "/v1/signals?limit=1");
                return true;
        }
        if (len == 0 || len > 16 || strspn(operands[0], "0123456789") != len) {
                cli_say("`%.60s` is not the number of a signal. Example: kickoff report 42",
                        operands[0]);
                return false;
        }
        snprintf(plan->path, sizeof(plan->path), "/v1/signals/%s", operands[0]);
        return true;
}

/* The request for the newest signal in the place of the request that asks which it is. */
static enum cli_exit find_latest(const struct cli *cli, struct cli_plan *plan)
{
        json_int_t head;
        json_t *answer;
        char *text;
        enum cli_exit result = ask_plan(cli, plan, &answer, &text);

        if (result != CLI_DONE)
                return result;
        head = json_integer_value(json_object_get(answer, "head"));
        json_decref(answer);
        free(text);
        if (head <= 0) {
                cli_say("there is no signal yet.");
                return CLI_REFUSED;
        }
        snprintf(plan->path, sizeof(plan->path), "/v1/signals/%" JSON_INTEGER_FORMAT, head);
        return CLI_DONE;
}

/* --- showing --------------------------------------------------------------------------------- */

static struct report_space space_of(const struct screen *screen)
{
        struct winsize size = { 0 };

        if (!screen->is_terminal || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
                return (struct report_space){ 0 };
        return (struct report_space){ size.ws_col, size.ws_row };
}

static unsigned lines_of(const struct buf *text)
{
        unsigned n = 0;

        for (size_t i = 0; i < text->len; i++)
                n += text->data[i] == '\n';
        return n;
}

/* Over what was drawn before. Lines are not wrapped meanwhile, so that they can be counted. */
static void draw(const struct cli *cli, struct screen *screen, const json_t *answer,
                 struct buf *out)
{
        struct cli now = *cli;
        struct buf text = BUF_INIT;

        now.now_ms = clock_wall_ms();
        report_view(&now, answer, space_of(screen), &text);
        if (screen->lines > 0)
                buf_printf(out, "\033[%uA\r", screen->lines);
        buf_str(out, "\033[?7l\033[J");
        buf_add(out, text.data, text.len);
        buf_str(out, "\033[?7h");
        screen->lines = lines_of(&text);
        out->failed = out->failed || text.failed;
        buf_fini(&text);
}

/* Nothing in between: what ends us in the middle would leave the terminal without wrapped lines. */
static bool write_whole(const struct buf *out)
{
        sigset_t ends, before;
        bool good;

        sigemptyset(&ends);
        sigaddset(&ends, SIGINT);
        sigaddset(&ends, SIGTERM);
        sigprocmask(SIG_BLOCK, &ends, &before);
        good = fwrite(out->data, 1, out->len, stdout) == out->len && fflush(stdout) == 0;
        sigprocmask(SIG_SETMASK, &before, NULL);
        return good;
}

/* False: nobody reads it any more, which *ret_result judges. */
static bool show(const struct cli *cli, struct screen *screen, const json_t *answer,
                 const char *json, enum cli_exit *ret_result)
{
        struct buf out = BUF_INIT;
        bool good;

        if (cli->json) {
                buf_str(&out, json);
                buf_char(&out, '\n');
        } else if (!follow) {
                report_view(cli, answer, space_of(screen), &out);
        } else if (screen->is_terminal) {
                draw(cli, screen, answer, &out);
        } else {
                char now[CLOCK_RFC3339_SIZE];

                clock_format_rfc3339(clock_wall_ms(), now);
                buf_printf(&out, "%s ", now);
                report_view_line(answer, &out);
                buf_char(&out, '\n');
        }
        errno = ENOMEM;
        good = !out.failed && write_whole(&out);
        if (!good && errno != EPIPE) { /* `| head` has seen what it wanted */
                cli_say("cannot write the report: %m");
                *ret_result = CLI_REFUSED;
        }
        buf_fini(&out);
        return good;
}

/* --- following ------------------------------------------------------------------------------- */

static enum cli_exit run_follow(const struct cli *cli, const struct cli_plan *plan,
                                struct screen *screen)
{
        uint64_t end_ms = clock_mono_ms() + (uint64_t)for_ms;
        json_t *answer = NULL, *before = NULL;
        enum cli_exit result;

        for (;;) {
                bool is_over, is_read = true;
                char *text;

                result = ask_plan(cli, plan, &answer, &text);
                if (result != CLI_DONE)
                        break;
                if (before == NULL || screen->is_terminal || report_view_differs(answer, before))
                        is_read = show(cli, screen, answer, text, &result);
                free(text);
                is_over = report_view_is_complete(answer) || !is_read;
                json_decref(before);
                before = answer;
                if (is_over)
                        break;
                if (clock_mono_ms() >= end_ms) {
                        cli_say("not all had acknowledged when the time was over (--for).");
                        result = CLI_REFUSED;
                        break;
                }
                usleep(ASK_EVERY_MS * 1000);
        }
        json_decref(before);
        return result;
}

static enum cli_exit run_report(const struct cli *cli, char *const *operands, unsigned n)
{
        struct cli_plan plan = { .method = "GET" };
        struct screen screen = { .is_terminal = !cli->json && isatty(STDOUT_FILENO) == 1 };
        enum cli_exit result = CLI_DONE;
        json_t *answer;
        char *text;

        if (!plan_report(cli, operands, n, &plan))
                return CLI_USAGE;
        if (strcmp(operands[0], "latest") == 0)
                result = find_latest(cli, &plan);
        if (result != CLI_DONE)
                return result;
        signal(SIGPIPE, SIG_IGN); /* `| head` is how people stop it */
        if (follow)
                return run_follow(cli, &plan, &screen);
        result = ask_plan(cli, &plan, &answer, &text);
        if (result != CLI_DONE)
                return result;
        (void)show(cli, &screen, answer, text, &result);
        json_decref(answer);
        free(text);
        return result;
}

static const struct option report_options[] = {
        { .name = "follow",
          .type = OPTION_FLAG,
          .value = &follow,
          .help = "Go on until all have acknowledged, drawn anew as it comes in." },
        { .name = "for",
          .type = OPTION_DURATION,
          .value = &for_ms,
          .default_value = "30s",
          .min = 1,
          .max = 86400000,
          .value_name = "SPAN",
          .help = "With --follow: at most so long; not complete by then is exit status 1." },
};

const struct cli_command report_command = {
        .name = "report",
        .operands = "SEQ|latest",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Show how one signal gets through: who was sent it, who has it.",
        .options = report_options,
        .n_options = countof(report_options),
        .examples = "Examples:\n  kickoff report 42\n  kickoff report latest --follow\n"
                    "  kickoff report latest --follow --json --for 1m | tail -1\n",
        .plan = plan_report,
        .run = run_report,
};
