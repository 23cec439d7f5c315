/* producer/cli/commands.h -- the rows of the command table, each defined where its code is. */
#pragma once

#include "producer/cli/cli.h"

extern const struct cli_command event_commands[]; /* event_commands.c */
extern const size_t event_commands_n;
extern const struct option change_options[]; /* of every change: whom it is for, and --dry-run */
extern const size_t change_options_n;
extern const struct cli_command prefetch_load_command; /* prefetch_load.c */
extern const struct cli_command report_command;        /* report.c */
extern const struct cli_command log_commands[];        /* log_commands.c: request, signals, nodes */
extern const size_t log_commands_n;
extern const struct cli_command audit_command; /* audit.c */
extern const struct cli_command drain_command; /* drain.c */
extern const struct cli_command device_commands[]; /* device_commands.c */
extern const size_t device_commands_n;
extern const struct cli_command watch_command; /* watch.c */
