/* producer/cli/audit.c -- `kickoff audit`: who did what, when, from where. With --follow it asks
 * once a second for what is new, until Ctrl-C, which is left to end the program as it ends any
 * other. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "producer/cli/ask.h"
#include "producer/cli/commands.h"
#include "producer/cli/show.h"
#include "proto/names.h"

static bool follow;
static int64_t limit;

static bool plan_audit(const struct cli *cli, char *const *operands, unsigned n,
                       struct cli_plan *plan)
{
        (void)cli;
        if (n == 1 && !name_is_valid(operands[0], strlen(operands[0]), EVENT_ID_MAX)) {
                cli_say("`%.80s` is not an event id: 1 to %d characters of A-Z a-z 0-9 . _ : ~ -",
                        operands[0], EVENT_ID_MAX);
                return false;
        }
        snprintf(plan->path, sizeof(plan->path), "/v1/audit?limit=%" PRId64 "%s%s", limit,
                 n == 1 ? "&event=" : "", n == 1 ? operands[0] : "");
        return true;
}

static void print_entries(const struct cli *cli, const json_t *answer)
{
        const json_t *entries = show_array(answer, "entries");
        struct buf out = BUF_INIT;

        for (size_t i = 0; cli->json && i < json_array_size(entries); i++) {
                char *line = json_dumps(json_array_get(entries, i), JSON_COMPACT);

                if (line != NULL)
                        puts(line);
                free(line);
        }
        if (!cli->json)
                show_audit(cli, entries, &out);
        if (!out.failed && out.len > 0)
                fwrite(out.data, 1, out.len, stdout);
        buf_fini(&out);
        fflush(stdout);
}

/* The request for what comes after this answer. False: the answer does not say. */
static bool go_on(const json_t *answer, const char *path, char *next, size_t size)
{
        const char *after = json_string_value(json_object_get(answer, "next"));

        if (after == NULL || strlen(after) > 41)
                return false;
        snprintf(next, size, "%s&after=%s", path, after);
        return true;
}

static enum cli_exit run_audit(const struct cli *cli, char *const *operands, unsigned n)
{
        struct cli_plan plan = { .method = "GET" };
        char path[sizeof(plan.path) + 64];
        struct cli now = *cli;
        enum cli_exit result;
        json_t *answer;
        char *text;

        if (!plan_audit(cli, operands, n, &plan))
                return CLI_USAGE;
        result = ask_plan(cli, &plan, &answer, &text);
        if (result != CLI_DONE)
                return result;
        if (cli->json && !follow)
                puts(text);
        else
                print_entries(cli, answer);
        if (!follow && !cli->json && json_array_size(show_array(answer, "entries")) == 0)
                puts("Nothing yet.");
        while (follow && go_on(answer, plan.path, path, sizeof(path))) {
                json_t *more;
                char *more_text;

                sleep(1);
                now.now_ms = clock_wall_ms();
                if (ask_once(&now, path, &more, &more_text) != CLI_DONE)
                        continue; /* Redis or the node is away: it may come back */
                json_decref(answer);
                free(text);
                answer = more;
                text = more_text;
                print_entries(&now, answer);
        }
        json_decref(answer);
        free(text);
        return CLI_DONE;
}

static const struct option audit_options[] = {
        { .name = "follow",
          .type = OPTION_FLAG,
          .value = &follow,
          .help = "Go on with what is new, until Ctrl-C." },
        { .name = "limit",
          .type = OPTION_NUMBER,
          .value = &limit,
          .default_value = "100",
          .min = 1,
          .max = 1000,
          .value_name = "N",
          .help = "The latest N entries." },
};

const struct cli_command audit_command = {
        .name = "audit",
        .operands = "[EVENT]",
        .min_operands = 0,
        .max_operands = 1,
        .summary = "Show who did what, when, from where.",
        .examples = "Example:\n  kickoff audit cup-final --follow\n",
        .options = audit_options,
        .n_options = countof(audit_options),
        .plan = plan_audit,
        .run = run_audit,
};
