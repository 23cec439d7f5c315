/* producer/cli/drain.c -- `kickoff drain NODE`: gives the order, says what will happen, and shows
 * how far the node is until it has ended. The node does it by itself: whoever looks on may go at
 * any time, and Ctrl-C says so. What the answers mean is drain_view.c's. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "producer/cli/ask.h"
#include "producer/cli/commands.h"
#include "producer/cli/drain_view.h"
#include "producer/cli/when.h"
#include "proto/names.h"

#define ASK_EVERY_MS    500
#define TAKEN_WITHIN_MS 10000 /* the node reads its order once a second; with Redis away, later */
#define SPARE_MS        10000 /* beyond its deadline: presence is late by a second or two */

static int64_t within_ms, rate;
static bool no_wait;

static char farewell[256]; /* for Ctrl-C */

static void on_interrupt(int sig)
{
        (void)sig;
        if (write(STDERR_FILENO, farewell, strlen(farewell)) < 0)
                _exit(CLI_UNKNOWN);
        _exit(CLI_UNKNOWN);
}

static bool plan_drain(const struct cli *cli, char *const *operands, unsigned n,
                       struct cli_plan *plan)
{
        (void)cli, (void)n;
        if (!name_is_valid(operands[0], strlen(operands[0]), NODE_NAME_MAX)) {
                cli_say("`%.80s` is not the name of a node. All there are: kickoff nodes",
                        operands[0]);
                return false;
        }
        plan->method = "POST";
        snprintf(plan->path, sizeof(plan->path), "/v1/nodes/%s/drain", operands[0]);
        plan->body = json_object();
        if (plan->body != NULL) {
                struct buf text = BUF_INIT;

                when_duration(within_ms, &text);
                json_object_set_new(plan->body, "within",
                                    json_string(text.failed ? "" : text.data));
                buf_fini(&text);
        }
        if (plan->body != NULL && rate != 0)
                json_object_set_new(plan->body, "rate", json_integer(rate));
        return plan->body != NULL;
}

/* --- looking on ------------------------------------------------------------------------------ */

struct watch {
        const struct cli *cli;
        const char *name;
        char started[CLOCK_RFC3339_SIZE]; /* of the run that was told; "" = not known */
        bool is_terminal, is_this_node, was_taken;
        int64_t of, left;
        uint64_t began_ms, until_ms;
};

static void show_stand(struct watch *watch, int64_t before)
{
        struct buf out = BUF_INIT;

        if (watch->is_terminal) {
                struct winsize size = { .ws_col = 80 };

                ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
                buf_char(&out, '\r');
                drain_view_bar(watch->name, watch->left, watch->of, size.ws_col, &out);
                buf_str(&out, "\033[K");
        } else if (watch->left == before) {
                return;
        } else if (watch->cli->json) {
                buf_printf(&out, "{\"node\":\"%s\",\"left\":%lld,\"of\":%lld}\n", watch->name,
                           (long long)watch->left, (long long)watch->of);
        } else {
                buf_printf(&out, "%lld of %lld devices left\n", (long long)watch->left,
                           (long long)watch->of);
        }
        if (!out.failed)
                fwrite(out.data, 1, out.len, stdout);
        fflush(stdout);
        buf_fini(&out);
}

static enum cli_exit succeed(const struct watch *watch)
{
        double took_s = (double)(clock_mono_ms() - watch->began_ms) / 1000;

        if (watch->is_terminal)
                putchar('\n');
        if (watch->cli->json)
                printf("{\"node\":\"%s\",\"ended\":true,\"took_s\":%.1f}\n", watch->name, took_s);
        else
                printf("%s has ended, after %.1f s.\n", watch->name, took_s);
        return CLI_DONE;
}

static enum cli_exit fail(const struct watch *watch, const char *what)
{
        if (watch->is_terminal)
                putchar('\n');
        fflush(stdout);
        cli_say("%s %s It held %lld devices when it was last heard of.", watch->name, what,
                (long long)watch->left);
        return CLI_REFUSED;
}

/* True: it goes on. */
static bool judge(struct watch *watch, const json_t *nodes, enum cli_exit *ret_result)
{
        const char *run = watch->started[0] != '\0' ? watch->started : NULL;
        int64_t before = watch->left;

        switch (drain_view_judge(nodes, watch->name, run, &watch->left)) {
        case DRAIN_WAITS:
                if (!watch->was_taken && clock_mono_ms() - watch->began_ms < TAKEN_WITHIN_MS)
                        return true;
                *ret_result =
                    fail(watch, "has not taken the order: does it reach its Redis? Its log says "
                                "more.");
                return false;
        case DRAIN_GOES_ON:
                watch->was_taken = true;
                if (watch->of < watch->left) /* the first count was a second old */
                        watch->of = watch->left;
                show_stand(watch, before);
                return true;
        case DRAIN_OVER:
        case DRAIN_ANOTHER:
                *ret_result = succeed(watch);
                return false;
        case DRAIN_DIED:
                break;
        }
        *ret_result = fail(watch, "died before it had sent all away.");
        return false;
}

static enum cli_exit look_on(struct watch *watch)
{
        enum cli_exit result = CLI_DONE;

        for (;;) {
                json_t *nodes;
                char *text;

                result = ask_once(watch->cli, "/v1/nodes", &nodes, &text);
                if (result == CLI_DONE) {
                        bool goes_on = judge(watch, nodes, &result);

                        json_decref(nodes);
                        free(text);
                        if (!goes_on)
                                return result;
                } else if (result == CLI_UNREACHABLE && watch->is_this_node) {
                        return succeed(watch); /* it was the one that answered us */
                }
                if (clock_mono_ms() > watch->until_ms)
                        return fail(watch, "should have ended by now.");
                usleep(ASK_EVERY_MS * 1000);
        }
}

static void take_promise(struct watch *watch, const json_t *answer, const char *text)
{
        const char *until = json_string_value(json_object_get(answer, "until"));
        const char *started = json_string_value(json_object_get(answer, "started"));
        int64_t until_ms;
        struct buf out = BUF_INIT;

        if (started != NULL)
                snprintf(watch->started, sizeof(watch->started), "%s", started);

        watch->of = watch->left = json_integer_value(json_object_get(answer, "devices"));
        watch->is_this_node = json_is_true(json_object_get(answer, "this_node"));
        watch->until_ms = watch->began_ms + SPARE_MS;
        if (until != NULL && clock_parse_rfc3339(until, &until_ms) == 0 &&
            until_ms > watch->cli->now_ms)
                watch->until_ms += (uint64_t)(until_ms - watch->cli->now_ms);
        if (watch->cli->json)
                puts(text);
        else
                drain_view_promise(watch->cli, answer, &out);
        if (out.len > 0 && !out.failed)
                fwrite(out.data, 1, out.len, stdout);
        fflush(stdout);
        buf_fini(&out);
}

static enum cli_exit run_drain(const struct cli *cli, char *const *operands, unsigned n)
{
        struct watch watch = { .cli = cli, .name = operands[0] };
        struct cli_plan plan = { .method = "POST" };
        enum cli_exit result;
        json_t *answer;
        char *text;

        if (!plan_drain(cli, operands, n, &plan)) {
                json_decref(plan.body);
                return CLI_USAGE;
        }
        watch.is_terminal = !cli->json && isatty(STDOUT_FILENO) == 1;
        watch.began_ms = clock_mono_ms();
        result = ask_plan(cli, &plan, &answer, &text);
        json_decref(plan.body);
        if (result != CLI_DONE)
                return result;
        snprintf(farewell, sizeof(farewell),
                 "\nkickoff: %.80s goes on draining by itself. How far it is: kickoff nodes\n",
                 watch.name);
        signal(SIGINT, on_interrupt);
        signal(SIGTERM, on_interrupt);
        take_promise(&watch, answer, text);
        json_decref(answer);
        free(text);
        return no_wait ? CLI_DONE : look_on(&watch);
}

static const struct option drain_options[] = {
        { .name = "within",
          .type = OPTION_DURATION,
          .value = &within_ms,
          .default_value = "1m",
          .min = 2000,
          .max = 3600 * 1000,
          .value_name = "SPAN",
          .help = "The node has ended after so long, whoever is left." },
        { .name = "rate",
          .type = OPTION_NUMBER,
          .value = &rate,
          .default_value = "0",
          .min = 0,
          .max = 1000000,
          .value_name = "N",
          .help =
              "Tell so many devices a second; 0 = as many as the other nodes can take, so that all are "
              "told in half of the time." },
        { .name = "no-wait",
          .type = OPTION_FLAG,
          .value = &no_wait,
          .help = "Give the order, and do not look on." },
};

const struct cli_command drain_command = {
        .name = "drain",
        .operands = "NODE",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Send a node's devices to the other nodes, and end it.",
        .options = drain_options,
        .n_options = countof(drain_options),
        .examples =
            "Examples:\n  kickoff drain node-1\n  kickoff drain node-1 --within 5m --rate 200\n\n"
            "Ctrl-C ends the looking on, not the drain: exit status 4.\n",
        .plan = plan_drain,
        .run = run_drain,
};
