/* producer/cli/cli.c -- from words to a command, and all the help there is: usage, lists and
 * options come from the table of commands and their option rows. */
#include "producer/cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "producer/cli/ask.h"
#include "producer/cli/closest.h"
#include "producer/cli/commands.h"

#define OPTIONS_MAX  24
#define COMMANDS_MAX 32

static const struct {
        const char *name, *summary;
} groups[] = {
        { "event", "Create, start, delay, end and look at events." },
        { "prefetch", "Load what devices fetch before an event." },
        { "device", "Find one device, and send it a message." },
};

/* All commands in the order of the help. */
static size_t all_commands(const struct cli_command *ret[COMMANDS_MAX])
{
        size_t n = 0;

        for (size_t i = 0; i < event_commands_n; i++)
                ret[n++] = &event_commands[i];
        ret[n++] = &prefetch_load_command;
        ret[n++] = &report_command;
        for (size_t i = 0; i < log_commands_n; i++)
                ret[n++] = &log_commands[i];
        ret[n++] = &audit_command;
        ret[n++] = &drain_command;
        for (size_t i = 0; i < device_commands_n; i++)
                ret[n++] = &device_commands[i];
        ret[n++] = &watch_command;
        check(n <= COMMANDS_MAX);
        return n;
}

void cli_say(const char *fmt, ...)
{
        va_list args;

        fputs("kickoff: ", stderr);
        va_start(args, fmt);
        vfprintf(stderr, fmt, args);
        va_end(args);
        fputc('\n', stderr);
}

/* --- did you mean --------------------------------------------------------------------------- */

static void refuse_word(const char *prefix, const char *word, const char *const *names, size_t n)
{
        const char *closest = closest_of(word, names, n);

        cli_say("there is no command `%s%.60s`.", prefix, word);
        if (closest != NULL)
                fprintf(stderr, "  Did you mean `kickoff %s%s`?\n", prefix, closest);
        fprintf(stderr, "  All commands: kickoff %s--help\n", prefix);
}

/* --- global options ------------------------------------------------------------------------- */

static struct globals {
        const char *admin, *token_file, *key;
        bool json;
        int64_t if_version;
        char if_version_text[24];
} globals;

/* The rows of the global options, beginning with what was read of them so far: they may stand
 * before and after the command. */
static size_t global_rows(struct option rows[OPTIONS_MAX], bool only_json)
{
        size_t n = 0;

        if (!only_json) {
                rows[n++] =
                    (struct option){ .name = "admin",
                                     .type = OPTION_TEXT,
                                     .value = &globals.admin,
                                     .default_value = globals.admin,
                                     .value_name = "URL",
                                     .help = "Where the node takes changes (KICKOFF_ADMIN)." };
                rows[n++] =
                    (struct option){ .name = "token-file",
                                     .type = OPTION_TEXT,
                                     .value = &globals.token_file,
                                     .default_value = globals.token_file,
                                     .value_name = "FILE",
                                     .help =
                                         "The admin token is in this file (KICKOFF_TOKEN_FILE)." };
                rows[n++] = (struct option){
                        .name = "key",
                        .type = OPTION_TEXT,
                        .value = &globals.key,
                        .default_value = globals.key,
                        .value_name = "KEY",
                        .help = "Idempotency key: the same key never makes a change twice. Without "
                                "it one is made up."
                };
                rows[n++] =
                    (struct option){ .name = "if-version",
                                     .type = OPTION_NUMBER,
                                     .value = &globals.if_version,
                                     .default_value = globals.if_version_text[0] != '\0'
                                                          ? globals.if_version_text
                                                          : NULL,
                                     .min = 0,
                                     .max = INT64_MAX,
                                     .value_name = "N",
                                     .help = "Change the event only if it is at this version." };
        }
        rows[n++] =
            (struct option){ .name = "json",
                             .type = OPTION_FLAG,
                             .value = &globals.json,
                             .default_value = globals.json ? "yes" : NULL,
                             .help = "Print JSON for programs instead of text for people." };
        return n;
}

static void note_globals(void)
{
        globals.if_version_text[0] = '\0';
        if (globals.if_version != 0)
                snprintf(globals.if_version_text, sizeof(globals.if_version_text), "%lld",
                         (long long)globals.if_version);
}

static void reset_globals(void)
{
        const char *admin = getenv("KICKOFF_ADMIN"), *file = getenv("KICKOFF_TOKEN_FILE");

        globals = (struct globals){ .admin = "http://127.0.0.1:9090" };
        if (admin != NULL && admin[0] != '\0')
                globals.admin = admin;
        if (file != NULL && file[0] != '\0')
                globals.token_file = file;
}

/* --- help ----------------------------------------------------------------------------------- */

static void list_row(const char *left, const char *right, struct buf *out)
{
        buf_printf(out, "  %-18s %s\n", left, right);
}

/* The commands of one group, or for NULL the top level. */
static void list_commands(const char *group, struct buf *out)
{
        const struct cli_command *commands[COMMANDS_MAX];
        size_t n = all_commands(commands);

        buf_str(out, "Commands:\n");
        for (size_t i = 0; group == NULL && i < countof(groups); i++)
                list_row(groups[i].name, groups[i].summary, out);
        for (size_t i = 0; i < n; i++) {
                if (group == NULL
                        ? commands[i]->group == NULL
                        : commands[i]->group != NULL && strcmp(commands[i]->group, group) == 0)
                        list_row(commands[i]->name, commands[i]->summary, out);
        }
        buf_printf(out, "\nMore about one: kickoff %s%sCOMMAND --help\n",
                   group != NULL ? group : "", group != NULL ? " " : "");
        if (group == NULL)
                buf_str(out, "Exit status: 0 done, 1 refused, 2 wrong usage, 3 no node there, "
                             "4 outcome unknown.\n");
}

/* --- parsing -------------------------------------------------------------------------------- */

static enum option_result parse_level(const char *group, int argc, char **argv, int *ret_first)
{
        struct option rows[OPTIONS_MAX];
        struct buf list = BUF_INIT;
        char name[64], usage[128];
        enum option_result result;

        snprintf(name, sizeof(name), "kickoff%s%s", group != NULL ? " " : "",
                 group != NULL ? group : "");
        snprintf(usage, sizeof(usage), "%s [OPTION]... COMMAND [ARGUMENT]...", name);
        list_commands(group, &list);

        struct option_program program = { .name = name,
                                          .usage = usage,
                                          .summary = "Start, change and watch live events.",
                                          .epilogue = list.failed ? NULL : list.data,
                                          .options = rows,
                                          .n = global_rows(rows, false),
                                          .no_environment = true };

        for (size_t i = 0; group != NULL && i < countof(groups); i++) {
                if (strcmp(groups[i].name, group) == 0)
                        program.summary = groups[i].summary;
        }
        result = option_parse(&program, argc, argv, true, ret_first);
        if (result == OPTION_RUN)
                note_globals();
        buf_fini(&list);
        return result;
}

static enum option_result parse_command(const struct cli_command *command, int argc, char **argv,
                                        int *ret_first)
{
        struct option rows[OPTIONS_MAX];
        char name[64], usage[160];
        size_t n = command->n_options;
        enum option_result result;

        snprintf(name, sizeof(name), "kickoff %s%s%s", command->group != NULL ? command->group : "",
                 command->group != NULL ? " " : "", command->name);
        snprintf(usage, sizeof(usage), "%s %s%s[OPTION]...", name, command->operands,
                 command->operands[0] != '\0' ? " " : "");
        check(n + change_options_n + 5 <= OPTIONS_MAX);
        for (size_t i = 0; i < n; i++)
                rows[i] = command->options[i];
        for (size_t i = 0; command->changes && i < change_options_n; i++)
                rows[n++] = change_options[i];
        n += global_rows(rows + n, command->own_options);

        struct option_program program = { .name = name,
                                          .usage = usage,
                                          .summary = command->summary,
                                          .epilogue = command->examples,
                                          .options = rows,
                                          .n = n,
                                          .no_environment = true };

        result = option_parse(&program, argc, argv, false, ret_first);
        if (result != OPTION_RUN)
                return result;
        note_globals();

        unsigned given = (unsigned)(argc - *ret_first);

        if (given >= command->min_operands && given <= command->max_operands)
                return OPTION_RUN;
        if (given < command->min_operands)
                cli_say("`%s` needs %s.", name, command->operands);
        else
                cli_say("`%s` has no use for `%.60s`.", name,
                        argv[*ret_first + (int)command->max_operands]);
        fprintf(stderr, "  Usage: %s\n  More: %s --help\n", usage, name);
        return OPTION_WRONG;
}

static const struct cli_command *find_command(const char *group, const char *name)
{
        const struct cli_command *commands[COMMANDS_MAX];
        size_t n = all_commands(commands);

        for (size_t i = 0; i < n; i++) {
                bool same_group = group == NULL ? commands[i]->group == NULL
                                                : commands[i]->group != NULL &&
                                                      strcmp(commands[i]->group, group) == 0;

                if (same_group && strcmp(commands[i]->name, name) == 0)
                        return commands[i];
        }
        return NULL;
}

static size_t names_of(const char *group, const char *ret_names[COMMANDS_MAX])
{
        const struct cli_command *commands[COMMANDS_MAX];
        size_t n = all_commands(commands), names = 0;

        for (size_t i = 0; group == NULL && i < countof(groups); i++)
                ret_names[names++] = groups[i].name;
        for (size_t i = 0; i < n; i++) {
                if (group == NULL
                        ? commands[i]->group == NULL
                        : commands[i]->group != NULL && strcmp(commands[i]->group, group) == 0)
                        ret_names[names++] = commands[i]->name;
        }
        return names;
}

static bool is_group(const char *word)
{
        for (size_t i = 0; i < countof(groups); i++) {
                if (strcmp(groups[i].name, word) == 0)
                        return true;
        }
        return false;
}

static void print_help_of(const char *group)
{
        char *argv[] = { (char *)(uintptr_t) "kickoff", (char *)(uintptr_t) "--help", NULL };
        int first;

        (void)!parse_level(group, 2, argv, &first);
}

/* The command word at *at, having read the options before it. NULL: *ret_parsed says how it ended.
 */
static const struct cli_command *read_words(int argc, char **argv, int *at,
                                            enum cli_parsed *ret_parsed)
{
        const char *group = NULL, *names[COMMANDS_MAX];
        const struct cli_command *command;

        for (;;) {
                int first;
                enum option_result result = parse_level(group, argc - *at, argv + *at, &first);

                *ret_parsed = result == OPTION_DONE ? CLI_STOP_OK : CLI_STOP_WRONG;
                if (result != OPTION_RUN)
                        return NULL;
                *at += first;
                if (*at == argc || strcmp(argv[*at], "help") == 0) {
                        /* Asked for nothing: the list is the answer, but not a success. */
                        *ret_parsed = *at == argc ? CLI_STOP_WRONG : CLI_STOP_OK;
                        print_help_of(group);
                        return NULL;
                }
                if (group != NULL || !is_group(argv[*at]))
                        break;
                group = argv[*at];
        }
        command = find_command(group, argv[*at]);
        if (command == NULL) {
                char prefix[32];

                snprintf(prefix, sizeof(prefix), "%s%s", group != NULL ? group : "",
                         group != NULL ? " " : "");
                refuse_word(prefix, argv[*at], names, names_of(group, names));
        }
        return command;
}

/* As uuidgen would, version 4 (RFC 9562): people know what to do with one. */
static void make_key(char key[CLI_KEY_SIZE])
{
        uint64_t a = rng_secure_u64(), b = rng_secure_u64();

        snprintf(key, CLI_KEY_SIZE, "%08llx-%04llx-4%03llx-%04llx-%012llx",
                 (unsigned long long)(a >> 32), (unsigned long long)(a >> 16 & 0xffff),
                 (unsigned long long)(a & 0xfff), (unsigned long long)(b >> 50 | 0x8000),
                 (unsigned long long)(b & 0xffffffffffff));
}

enum cli_parsed cli_parse(int argc, char **argv, struct cli *ret_cli,
                          const struct cli_command **ret_command, char *const **ret_operands,
                          unsigned *ret_n)
{
        const struct cli_command *command;
        enum cli_parsed parsed = CLI_STOP_WRONG;
        int at = 0, first;

        reset_globals();
        command = read_words(argc, argv, &at, &parsed);
        if (command == NULL)
                return parsed;
        switch (parse_command(command, argc - at, argv + at, &first)) {
        case OPTION_DONE:
                return CLI_STOP_OK;
        case OPTION_WRONG:
                return CLI_STOP_WRONG;
        case OPTION_RUN:
                break;
        }
        *ret_cli = (struct cli){ .admin = globals.admin,
                                 .token_file = globals.token_file,
                                 .key = globals.key,
                                 .key_given = globals.key != NULL,
                                 .json = globals.json,
                                 .if_version = globals.if_version,
                                 .now_ms = clock_wall_ms() };
        if (ret_cli->key == NULL) {
                make_key(ret_cli->made_key);
                ret_cli->key = ret_cli->made_key;
        }
        *ret_command = command;
        *ret_operands = argv + at + first;
        *ret_n = (unsigned)(argc - at - first);
        return CLI_RUN;
}

/* --- main ----------------------------------------------------------------------------------- */

static enum cli_exit run_plan(const struct cli *cli, const struct cli_command *command,
                              char *const *operands, unsigned n)
{
        struct cli_plan plan = { .method = "GET" };
        enum cli_exit result;
        json_t *answer;
        char *text;

        if (!command->plan(cli, operands, n, &plan)) {
                json_decref(plan.body);
                return CLI_USAGE;
        }
        result = ask_plan(cli, &plan, &answer, &text);
        json_decref(plan.body);
        if (result != CLI_DONE)
                return result;
        if (cli->json) {
                puts(text);
        } else {
                struct buf out = BUF_INIT;

                command->show(cli, answer, &out);
                if (!out.failed && out.len > 0)
                        fwrite(out.data, 1, out.len, stdout);
                buf_fini(&out);
        }
        json_decref(answer);
        free(text);
        return CLI_DONE;
}

int cli_main(int argc, char **argv)
{
        char **typed = calloc((size_t)argc + 1, sizeof(*typed)); /* argv is about to be permuted */
        const struct cli_command *command;
        char *const *operands;
        enum cli_exit result;
        struct cli cli;
        unsigned n;

        if (typed == NULL) {
                cli_say("out of memory");
                return CLI_REFUSED;
        }
        memcpy(typed, argv, (size_t)argc * sizeof(*typed));
        switch (cli_parse(argc, argv, &cli, &command, &operands, &n)) {
        case CLI_STOP_OK:
                free(typed);
                return CLI_DONE;
        case CLI_STOP_WRONG:
                free(typed);
                return CLI_USAGE;
        case CLI_RUN:
                break;
        }
        cli.argc = argc;
        cli.argv = typed;
        cli.colour = isatty(STDOUT_FILENO) != 0 && getenv("NO_COLOR") == NULL;
        result = command->run != NULL ? command->run(&cli, operands, n)
                                      : run_plan(&cli, command, operands, n);
        if (fflush(stdout) != 0 && result == CLI_DONE)
                result = CLI_REFUSED;
        free(typed);
        return (int)result;
}
