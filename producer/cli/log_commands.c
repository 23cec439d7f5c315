/* producer/cli/log_commands.c -- `kickoff signals` and `nodes`: questions only. */
#include <inttypes.h>
#include <stdio.h>

#include "producer/cli/commands.h"
#include "producer/cli/show.h"
#include "proto/token.h"

static int64_t after;
static int64_t limit;

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
