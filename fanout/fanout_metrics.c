/* fanout/fanout_metrics.c -- the rows of fanout_metrics.h, made real. */
#include "fanout/fanout_metrics.h"

#include "base/check.h"

#define APPENDS   "Changes asked of this node, by what became of them."
#define QUESTIONS "Questions and messages for one device asked of this node, by where it was found."

#define X(name, type, text, help) struct metric fanout_metric_##name = METRIC_##type(text, help);
FANOUT_METRICS(X)
#undef X

static struct metric *const table[] = {
#define X(name, type, text, help) &fanout_metric_##name,
        FANOUT_METRICS(X)
#undef X
};

void fanout_metrics_register(void)
{
        metrics_register(table, countof(table));
}
