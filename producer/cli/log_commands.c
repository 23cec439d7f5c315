/* producer/cli/log_commands.c -- `kickoff request`, `signals` and `nodes`: questions only. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "producer/cli/commands.h"
#include "producer/cli/show.h"
#include "proto/token.h"

static int64_t after;
static int64_t limit;

static bool plan_request(const struct cli *cli, char *const *operands, unsigned n,
                         struct cli_plan *plan)
{
        size_t len = strlen(operands[0]), at;

        (void)cli, (void)n;
        if (len == 0 || len >= CLI_KEY_SIZE) {
                cli_say("an idempotency key has 1 to %d characters. Example: kickoff request "
                        "7d3a0c5e-1f2b-4c3d-9e8f-0a1b2c3d4e5f",
                        CLI_KEY_SIZE - 1);
                return false;
        }
        at = (size_t)snprintf(plan->path, sizeof(plan->path), "/v1/requests/");
        for (const char *c = operands[0]; *c != '\0'; c++) {
                bool is_plain = isalnum((unsigned char)*c) || strchr("-._~", *c) != NULL;

                at += (size_t)snprintf(plan->path + at, sizeof(plan->path) - at,
                                       is_plain ? "%c" : "%%%02X", (unsigned char)*c);
        }
        return true;
}

static void show_request(const struct cli *cli, const json_t *answer, struct buf *out)
{
        const char *state = json_string_value(json_object_get(answer, "state"));

        if (state != NULL && strcmp(state, "held") == 0) {
                buf_str(out,
                        "Written, but not yet held by enough replicas: no device has it yet. Ask "
                        "again in a while.\n");
                return;
        }
        buf_str(out, "Done, once. ");
        show_change(cli, answer, out);
}

static bool plan_signals(const struct cli *cli, char *const *operands, unsigned n,
                         struct cli_plan *plan)
{
        (void)cli, (void)operands, (void)n;
        snprintf(plan->path, sizeof(plan->path), "/v1/signals?after=%" PRId64 "&limit=%" PRId64,
                 after, limit);
        return true;
}

static void show_log(const struct cli *cli, const json_t *answer, struct buf *out)
{
        json_int_t next = json_integer_value(json_object_get(answer, "next"));
        json_int_t head = json_integer_value(json_object_get(answer, "head"));

        if (json_is_true(json_object_get(answer, "trimmed")))
                buf_str(out, "Older signals have been trimmed from the log.\n");
        show_signals(cli, show_array(answer, "signals"), out);
        if (next < head)
                buf_printf(out, "There are more, up to %lld: kickoff signals --after %lld\n",
                           (long long)head, (long long)next);
}

static bool plan_nodes(const struct cli *cli, char *const *operands, unsigned n,
                       struct cli_plan *plan)
{
        (void)cli, (void)operands, (void)n;
        snprintf(plan->path, sizeof(plan->path), "/v1/nodes");
        return true;
}

static void show_all_nodes(const struct cli *cli, const json_t *answer, struct buf *out)
{
        show_nodes(cli, show_array(answer, "nodes"), out);
}

static const struct option signals_options[] = {
        { .name = "after",
          .type = OPTION_NUMBER,
          .value = &after,
          .default_value = "0",
          .min = 0,
          .max = (int64_t)SEQNO_MAX - 1000,
          .value_name = "SEQ",
          .help = "Only signals with a higher number." },
        { .name = "limit",
          .type = OPTION_NUMBER,
          .value = &limit,
          .default_value = "100",
          .min = 1,
          .max = 1000,
          .value_name = "N",
          .help = "At most so many." },
};

const struct cli_command log_commands[] = {
        { .name = "request",
          .operands = "KEY",
          .min_operands = 1,
          .max_operands = 1,
          .summary = "Show what became of a change whose answer got lost.",
          .plan = plan_request,
          .show = show_request },
        { .name = "signals",
          .operands = "",
          .summary = "List the signal log.",
          .options = signals_options,
          .n_options = countof(signals_options),
          .plan = plan_signals,
          .show = show_log },
        { .name = "nodes",
          .operands = "",
          .summary = "List the nodes and their devices.",
          .plan = plan_nodes,
          .show = show_all_nodes },
};
const size_t log_commands_n = countof(log_commands);
