/* producer/cli/cli.h -- the `kickoff` command: one table of commands, and what they share. A
 * command is either a `plan` (words -> one HTTP request, pure) with a `show` (answer -> text,
 * pure), or a `run` of its own, which may begin with its `plan`. Talks to a node only over its public interfaces: HTTP, and the
 * device SDK for `watch`.
 *
 *   words ─► cli.c: table ─► plan ─► ask.c: send, repeat, judge ─► show ─► stdout
 *                          └► run (prefetch load, report, drain, watch) */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/option.h"

enum cli_exit {
        CLI_DONE = 0,
        CLI_REFUSED = 1,     /* the server said no: nothing happened */
        CLI_USAGE = 2,       /* the words make no sense; nothing was sent */
        CLI_UNREACHABLE = 3, /* no node there: nothing happened */
        CLI_UNKNOWN = 4      /* sent, but no answer: it may have happened */
};

#define CLI_KEY_SIZE 129

struct cli {                    /* what every command may look at */
        const char *admin;      /* --admin, as given */
        const char *token_file; /* --token-file, NULL = none */
        const char *key;        /* --key, or the one made up for this run */
        bool key_given;
        bool json;          /* --json */
        int64_t if_version; /* --if-version; 0 = not given */
        int64_t now_ms;     /* wall clock at start: "in 10m" and "3 min ago" are relative to it */
        bool colour;        /* stdout is a terminal and NO_COLOR is not set */
        int argc;           /* the command line as it was typed */
        char *const *argv;
        char made_key[CLI_KEY_SIZE];
};

struct cli_plan { /* one request */
        const char *method;
        char path[512];
        json_t *body; /* owned; NULL = none */
};

struct cli_command {
        const char *group;    /* "event", or NULL: `name` stands alone */
        const char *name;     /* "create" */
        const char *operands; /* "ID STAGE", for the usage line */
        const char *summary;  /* one sentence */
        const char *examples; /* shown after the options */
        const struct option *options;
        size_t n_options;
        unsigned min_operands, max_operands;
        bool own_options; /* takes --json, but no other global option */
        bool changes;     /* an event: takes change_options (commands.h), too */
        /* False: it has said on stderr what is wrong. */
        bool (*plan)(const struct cli *cli, char *const *operands, unsigned n,
                     struct cli_plan *ret_plan);
        void (*show)(const struct cli *cli, const json_t *answer, struct buf *out);
        enum cli_exit (*run)(const struct cli *cli, char *const *operands, unsigned n);
};

/* The whole program. argv is permuted. */
int cli_main(int argc, char **argv);

enum cli_parsed { CLI_RUN, CLI_STOP_OK, CLI_STOP_WRONG };
/* Words to a command: CLI_RUN fills all outputs; otherwise help was printed, or what is wrong was
 * said. */
must_check enum cli_parsed cli_parse(int argc, char **argv, struct cli *ret_cli,
                                     const struct cli_command **ret_command,
                                     char *const **ret_operands, unsigned *ret_n);
/* "kickoff: ..." on stderr, with a newline. */
void cli_say(const char *fmt, ...) printf_like(1, 2);
