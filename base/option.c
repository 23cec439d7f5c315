/* base/option.c -- the words between a person and a program. Decides what the command line and the
 * environment mean by one table, and how a mistake is told: what is wrong, what is accepted, an
 * example. Knows nothing of what an option is for. Nothing is allocated but the text of --help. */
#include "base/option.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/option_help.h"
#include "base/option_man.h"

#define OPTIONS_MAX 64 /* one bit each in option_run.seen */

struct option_run {
        const struct option_program *program;
        uint64_t seen; /* given on the command line, by index */
};

/* How the user wrote it: "--ping 5x" or "KICKOFF_PING=5x"; messages quote it the same way. */
struct origin {
        char name[OPTION_VARIABLE_SIZE];
        char separator;
};

static struct origin origin_command_line(const struct option *option)
{
        struct origin origin = { .separator = ' ' };

        snprintf(origin.name, sizeof(origin.name), "--%s", option->name);
        return origin;
}

static struct origin origin_environment(const struct option *option)
{
        struct origin origin = { .separator = '=' };

        option_help_variable(option, origin.name);
        return origin;
}

/* --- values --------------------------------------------------------------------------------- */

/* Whole decimal numbers only. *ret_fits is false for one beyond 64 bits, whose value is then the
 * nearest that there is. */
static bool parse_number(const char *text, int64_t *ret_value, bool *ret_fits)
{
        bool negative = *text == '-', fits = true;
        uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
        uint64_t value = 0;

        text += negative;
        if (*text == '\0')
                return false;
        for (; *text != '\0'; text++) {
                if (*text < '0' || *text > '9')
                        return false;

                uint64_t digit = (uint64_t)(*text - '0');

                fits = fits && value <= (limit - digit) / 10;
                value = fits ? value * 10 + digit : limit;
        }
        *ret_fits = fits;
        *ret_value = negative ? (int64_t)-value : (int64_t)value;
        return true;
}

/* Second and third line of a complaint: what is accepted, with an example, and where to read on. */
static void say_accepted(const struct option_run *run, const struct option *option,
                         const struct origin *origin)
{
        static const char *const kinds[] = {
                [OPTION_TEXT] = NULL,
                [OPTION_NUMBER] = "a whole number",
                [OPTION_DURATION] = "a number and its unit (ms, s, m, h, d)",
                [OPTION_FLAG] = "yes or no",
        };
        const char *kind =
            option->type == OPTION_TEXT ? option_help_value_name(option) : kinds[option->type];
        char limits[OPTION_LIMITS_SIZE] = "", number[OPTION_VALUE_SIZE];
        const char *example = option->default_value;

        if (option->type == OPTION_NUMBER || option->type == OPTION_DURATION) {
                int64_t usual = option->type == OPTION_DURATION ? 10000 : 10;

                usual = usual < option->min ? option->min : usual;
                option_help_limits(option, limits);
                option_help_value(option, usual > option->max ? option->max : usual, number);
                if (example == NULL)
                        example = number;
        } else if (option->type == OPTION_FLAG) {
                example = "yes";
        }
        fprintf(stderr, "  It takes %s%s%s", kind, limits[0] != '\0' ? ", " : "", limits);
        if (example != NULL)
                fprintf(stderr, ", for example: %s%c%s", origin->name, origin->separator, example);
        fprintf(stderr, "\n  All options: %s --help\n", run->program->name);
}

static bool refuse_value(const struct option_run *run, const struct option *option,
                         const struct origin *origin, const char *text, const char *why)
{
        fprintf(stderr, "%s: %s%c%s: %s.\n", run->program->name, origin->name, origin->separator,
                log_quote(text), why);
        say_accepted(run, option, origin);
        return false;
}

static bool set_number(const struct option_run *run, const struct option *option,
                       const struct origin *origin, const char *text)
{
        bool is_duration = option->type == OPTION_DURATION;
        char limit[OPTION_VALUE_SIZE], why[OPTION_VALUE_SIZE + 32];
        bool fits = true;
        int64_t value;

        if (is_duration ? clock_parse_duration(text, &value) != 0
                        : !parse_number(text, &value, &fits))
                return refuse_value(run, option, origin, text,
                                    is_duration ? "not a duration" : "not a number");
        if (value < option->min || value > option->max || !fits) {
                bool less = value < option->min || (!fits && value < 0);

                option_help_value(option, less ? option->min : option->max, limit);
                snprintf(why, sizeof(why), "%s than %s", less ? "less" : "more", limit);
                return refuse_value(run, option, origin, text, why);
        }
        *(int64_t *)option->value = value;
        return true;
}

static bool set_flag(const struct option_run *run, const struct option *option,
                     const struct origin *origin, const char *text)
{
        static const char *const words[2][4] = { { "no", "0", "false", "off" },
                                                 { "yes", "1", "true", "on" } };

        for (size_t i = 0; i < 2 * countof(words[0]); i++) {
                if (strcmp(text, words[i % 2][i / 2]) == 0) {
                        *(bool *)option->value = i % 2 == 1;
                        return true;
                }
        }
        return refuse_value(run, option, origin, text, "neither yes nor no");
}

static bool set_value(const struct option_run *run, const struct option *option,
                      const struct origin *origin, const char *text)
{
        const char *why = "not accepted";

        switch (option->type) {
        case OPTION_NUMBER:
        case OPTION_DURATION:
                return set_number(run, option, origin, text);
        case OPTION_FLAG:
                return set_flag(run, option, origin, text);
        case OPTION_TEXT:
                break;
        }
        if (option->accepts != NULL && !option->accepts(text, &why))
                return refuse_value(run, option, origin, text, why);
        *(const char **)option->value = text;
        return true;
}

static void set_default(const struct option_run *run, const struct option *option)
{
        struct origin origin = origin_command_line(option);

        if (option->default_value != NULL) {
                /* A default that its own row refuses is our bug. */
                check(set_value(run, option, &origin, option->default_value));
                return;
        }
        switch (option->type) {
        case OPTION_TEXT:
                *(const char **)option->value = NULL;
                break;
        case OPTION_NUMBER:
        case OPTION_DURATION:
                *(int64_t *)option->value = option->min;
                break;
        case OPTION_FLAG:
                *(bool *)option->value = false;
                break;
        }
}

/* --- mistakes ------------------------------------------------------------------------------- */

/* Letters to change, add, drop or swap with their neighbour (optimal string alignment distance). */
static size_t edit_distance(const char *a, const char *b)
{
        size_t rows[3][OPTION_NAME_MAX + 1];
        size_t a_len = strlen(a), b_len = strlen(b);

        if (b_len > OPTION_NAME_MAX)
                return SIZE_MAX;
        for (size_t j = 0; j <= b_len; j++)
                rows[0][j] = j;
        for (size_t i = 1; i <= a_len; i++) {
                size_t *now = rows[i % 3], *above = rows[(i + 2) % 3],
                       *two_above = rows[(i + 1) % 3];

                now[0] = i;
                for (size_t j = 1; j <= b_len; j++) {
                        size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);

                        if (above[j] + 1 < best)
                                best = above[j] + 1;
                        if (now[j - 1] + 1 < best)
                                best = now[j - 1] + 1;
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                            two_above[j - 2] + 1 < best)
                                best = two_above[j - 2] + 1;
                        now[j] = best;
                }
        }
        return rows[a_len % 3][b_len];
}

static void consider(const char *given, const char *name, size_t *best, const char **ret_closest)
{
        /* The beginning of a name counts as one slip: people try abbreviations. */
        bool is_start = strlen(given) >= 2 && strncmp(given, name, strlen(given)) == 0;
        size_t distance = is_start ? 1 : edit_distance(given, name);

        if (distance < *best) {
                *best = distance;
                *ret_closest = name;
        }
}

static enum option_result refuse_unknown(const struct option_run *run, const char *argument)
{
        const struct option_program *program = run->program;
        const char *name = argument + strspn(argument, "-");
        size_t len = strcspn(name, "=");
        size_t best = len / 3 + 2; /* more slips than a third of it, and it is another word */
        const char *closest = NULL;
        char given[OPTION_NAME_MAX + 1];

        if (len <= OPTION_NAME_MAX && len > 0) {
                memcpy(given, name, len);
                given[len] = '\0';
                for (size_t i = 0; i < program->n; i++)
                        consider(given, program->options[i].name, &best, &closest);
                consider(given, "help", &best, &closest);
                consider(given, "version", &best, &closest);
        }
        fprintf(stderr, "%s: there is no option %s.\n", program->name, log_quote(argument));
        if (closest != NULL)
                fprintf(stderr, "  Did you mean --%s?\n", closest);
        fprintf(stderr, "  All options: %s --help\n", program->name);
        return OPTION_WRONG;
}

/* --- parsing -------------------------------------------------------------------------------- */

static const struct option *find(const struct option_program *program, const char *name, size_t len)
{
        for (size_t i = 0; i < program->n; i++) {
                const struct option *option = &program->options[i];

                if (strlen(option->name) == len && memcmp(option->name, name, len) == 0)
                        return option;
        }
        return NULL;
}

/* One option, at argv[0] of `argc` arguments. *ret_used of them belong to it. */
static enum option_result take_option(struct option_run *run, int argc, char **argv, int *ret_used)
{
        const struct option_program *program = run->program;
        const char *name = argv[0] + 2;
        const char *equals = strchr(name, '=');
        size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
        const struct option *option = NULL;
        const char *text;

        if (strncmp(argv[0], "--", 2) == 0)
                option = find(program, name, len);
        if (option == NULL)
                return refuse_unknown(run, argv[0]);

        struct origin origin = origin_command_line(option);

        *ret_used = 1;
        if (option->type == OPTION_FLAG) {
                if (equals != NULL) {
                        fprintf(stderr, "%s: %s takes no value: write it alone.\n", program->name,
                                origin.name);
                        return OPTION_WRONG;
                }
                text = "yes";
        } else if (equals != NULL) {
                text = equals + 1;
        } else if (argc > 1 && strncmp(argv[1], "--", 2) != 0) {
                text = argv[1];
                *ret_used = 2;
        } else {
                fprintf(stderr, "%s: %s needs a value.\n", program->name, origin.name);
                say_accepted(run, option, &origin);
                return OPTION_WRONG;
        }
        run->seen |= UINT64_C(1) << (option - program->options);
        return set_value(run, option, &origin, text) ? OPTION_RUN : OPTION_WRONG;
}

static bool print_and_stop(const struct option_program *program, const char *argument)
{
        struct buf text = BUF_INIT;

        if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0)
                option_help(program, &text);
        else if (strcmp(argument, "--help-man") == 0)
                option_man(program, &text);
        else if (strcmp(argument, "--version") == 0)
                buf_printf(&text, "%s %s\n", program->name, KICKOFF_VERSION);
        else
                return false;
        if (!text.failed)
                fputs(text.data, stdout);
        fflush(stdout);
        buf_fini(&text);
        return true;
}

static enum option_result read_environment(const struct option_run *run)
{
        for (size_t i = 0; i < run->program->n; i++) {
                const struct option *option = &run->program->options[i];
                struct origin origin = origin_environment(option);
                const char *text = getenv(origin.name);

                /* Set but empty is how container files write "not set". */
                if (text == NULL || text[0] == '\0' || (run->seen >> i & 1) != 0)
                        continue;
                if (!set_value(run, option, &origin, text))
                        return OPTION_WRONG;
        }
        return OPTION_RUN;
}

/* Moves `n` arguments at `from` down to `to`, and those between up. */
static void move_down(char **argv, int from, int to, int n)
{
        for (; n > 0 && from > to; n--, from++, to++) {
                char *moved = argv[from];

                memmove(argv + to + 1, argv + to, (size_t)(from - to) * sizeof(*argv));
                argv[to] = moved;
        }
}

enum option_result option_parse(const struct option_program *program, int argc, char **argv,
                                bool stop_at_operand, int *ret_first_operand)
{
        struct option_run run = { .program = program };
        int first_operand = 1; /* operands seen so far stand in argv[first_operand .. i) */

        check(program->n <= OPTIONS_MAX);
        for (size_t i = 0; i < program->n; i++)
                set_default(&run, &program->options[i]);
        for (int i = 1; i < argc;) {
                enum option_result result;
                int used = 1;

                if (argv[i][0] != '-' || argv[i][1] == '\0') { /* "-" alone is an operand */
                        if (stop_at_operand)
                                break;
                        i++;
                        continue;
                }
                if (strcmp(argv[i], "--") == 0) {
                        move_down(argv, i, first_operand++, 1);
                        break;
                }
                if (print_and_stop(program, argv[i]))
                        return OPTION_DONE;
                result = take_option(&run, argc - i, argv + i, &used);
                if (result != OPTION_RUN)
                        return result;
                move_down(argv, i, first_operand, used);
                first_operand += used;
                i += used;
        }
        if (!program->no_environment && read_environment(&run) != OPTION_RUN)
                return OPTION_WRONG;
        *ret_first_operand = first_operand;
        return OPTION_RUN;
}
