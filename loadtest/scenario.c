/* loadtest/scenario.c -- see scenario.h. */
#include "loadtest/scenario.h"

#include <string.h>

const struct scenario *const scenario_list[] = {
        &scenario_start,
        &scenario_connect_storm,
        &scenario_reconnect_storm,
        &scenario_stampede,
        &scenario_spread,
        &scenario_compare,
        &scenario_together,
        &scenario_slow_readers,
        &scenario_rolling_restart,
        &scenario_soak,
        NULL,
};

const struct scenario *scenario_find(const char *name)
{
        for (const struct scenario *const *at = scenario_list; *at != NULL; at++)
                if (strcmp((*at)->name, name) == 0)
                        return *at;
        return NULL;
}

const char *scenario_default_of(const struct scenario *scenario, const char *option)
{
        for (unsigned i = 0; i < SCENARIO_DEFAULTS_MAX && scenario->defaults[i].option != NULL; i++)
                if (strcmp(scenario->defaults[i].option, option) == 0)
                        return scenario->defaults[i].value;
        return NULL;
}

void scenario_print_list(struct buf *out)
{
        for (const struct scenario *const *at = scenario_list; *at != NULL; at++)
                buf_printf(out, "%-16s %s\n%-16s Holds: %s\n", (*at)->name, (*at)->sentence, "",
                           (*at)->promise);
}

void scenario_mend_arguments(int argc, char **argv)
{
        static char to_stdout[] = "--json=-";

        for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
                const char *next = i + 1 < argc ? argv[i + 1] : NULL;

                if (strcmp(argv[i], "--json") == 0 &&
                    (next == NULL || (next[0] == '-' && next[1] != '\0') ||
                     scenario_find(next) != NULL))
                        argv[i] = to_stdout;
        }
}
