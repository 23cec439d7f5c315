/* base/option.h -- command-line options, environment and --help from one table. A program lists its
 * options once; value, default, limits, the KICKOFF_... variable and the help line come from the row.
 * The command line wins over the environment, which wins over the default. Main thread, at start. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"

enum option_type {
        OPTION_TEXT,     /* const char * */
        OPTION_NUMBER,   /* int64_t, within min..max */
        OPTION_DURATION, /* int64_t ms, written "50s", "30m"; min..max in ms */
        OPTION_FLAG      /* bool */
};

struct option {
        const char *name;          /* "listen": --listen VALUE or --listen=VALUE, and KICKOFF_LISTEN */
        enum option_type type;
        void *value;               /* where it goes; of the type named above */
        const char *default_value; /* as text; NULL = none (text stays NULL, flag false, number min) */
        int64_t min, max;          /* numbers and durations */
        const char *value_name;    /* "HOST:PORT" in the help */
        const char *help;          /* one sentence */
        /* NULL = any; for texts. *ret_why is a few words: "no port in it" -> "--listen x: no port in it." */
        bool (*accepts)(const char *text, const char **ret_why);
};

/* At most 64 options. A flag takes no value on the command line, yes or no in the environment; a variable
 * that is set but empty counts as not set. */
struct option_program {
        const char *name;    /* "kickoffd" */
        const char *summary; /* one sentence under the usage line */
        const char *usage;   /* "kickoffd [OPTION]..." */
        const char *epilogue; /* examples, shown after the options; NULL = none */
        const struct option *options;
        size_t n;
        bool no_environment; /* options come from the command line alone */
        unsigned section;    /* of its manual page; 0 = 1, programs for everybody */
};

enum option_result {
        OPTION_RUN,  /* go on; *ret_first_operand is the index of the first operand in argv */
        OPTION_DONE, /* --help, --help-man or --version was asked for and printed on stdout: exit 0 */
        OPTION_WRONG /* said on stderr what is wrong and what to do: exit 2 */
};

/* Texts point into argv, the environment or the table. `--` ends the options; unless
 * `stop_at_operand`, operands may stand between options (argv is permuted). */
must_check enum option_result option_parse(const struct option_program *program, int argc, char **argv,
                                           bool stop_at_operand, int *ret_first_operand);
/* The text of --help, for documents and man pages. */
struct buf;
void option_help(const struct option_program *program, struct buf *out);
