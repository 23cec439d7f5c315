/* base/option_help.c -- how a row of the option table reads: the text of --help, aligned and
 * wrapped so that it fits every terminal. Decides looks only. */
#include "base/option_help.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"

#define HELP_WIDTH  80 /* columns */
#define HELP_INDENT 28 /* where sentences begin, unless all names are shorter */

void option_help_variable(const struct option *option, char text[OPTION_VARIABLE_SIZE])
{
        size_t len = (size_t)snprintf(text, OPTION_VARIABLE_SIZE, "KICKOFF_%s", option->name);

        check(len < OPTION_VARIABLE_SIZE);
        for (char *at = text; *at != '\0'; at++) {
                if (*at >= 'a' && *at <= 'z')
                        *at = (char)(*at - 'a' + 'A');
                else if (*at == '-')
                        *at = '_';
        }
}

const char *option_help_value_name(const struct option *option)
{
        if (option->value_name != NULL)
                return option->value_name;
        if (option->type == OPTION_NUMBER)
                return "N";
        return option->type == OPTION_DURATION ? "TIME" : "TEXT";
}

static void duration_text(int64_t ms, char text[OPTION_VALUE_SIZE])
{
        static const struct {
                const char *name;
                int64_t ms;
        } units[] = {
                { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 }
        };
        size_t len = 0;

        for (size_t i = 0; i < countof(units); i++) {
                if (ms >= units[i].ms)
                        len += (size_t)snprintf(text + len, OPTION_VALUE_SIZE - len, "%lld%s",
                                                (long long)(ms / units[i].ms), units[i].name);
                ms %= units[i].ms;
        }
        if (len == 0)
                snprintf(text, OPTION_VALUE_SIZE, "0s");
}

void option_help_value(const struct option *option, int64_t value, char text[OPTION_VALUE_SIZE])
{
        if (option->type == OPTION_DURATION)
                duration_text(value, text);
        else
                snprintf(text, OPTION_VALUE_SIZE, "%lld", (long long)value);
}

void option_help_limits(const struct option *option, char text[OPTION_LIMITS_SIZE])
{
        char min[OPTION_VALUE_SIZE], max[OPTION_VALUE_SIZE];
        int64_t lowest = option->type == OPTION_DURATION ? 0 : INT64_MIN;
        bool has_min = option->min > lowest, has_max = option->max < INT64_MAX;

        option_help_value(option, option->min, min);
        option_help_value(option, option->max, max);
        if (has_min && has_max)
                snprintf(text, OPTION_LIMITS_SIZE, "from %s to %s", min, max);
        else if (has_min)
                snprintf(text, OPTION_LIMITS_SIZE, "at least %s", min);
        else if (has_max)
                snprintf(text, OPTION_LIMITS_SIZE, "at most %s", max);
        else
                text[0] = '\0';
}

/* Adds `text` word by word, from column `*column` on; lines after the first begin at `indent`. */
static void add_wrapped(struct buf *out, const char *text, size_t indent, size_t *column)
{
        while (*(text += strspn(text, " ")) != '\0') {
                size_t len = strcspn(text, " ");

                if (*column > indent && *column + 1 + len > HELP_WIDTH) {
                        buf_printf(out, "\n%*s", (int)indent, "");
                        *column = indent;
                } else if (*column > indent) {
                        buf_char(out, ' ');
                        ++*column;
                }
                buf_add(out, text, len);
                *column += len;
                text += len;
        }
}

static size_t heading(const struct option *option, struct buf *out)
{
        size_t before = out->len;

        buf_printf(out, "  --%s", option->name);
        if (option->type != OPTION_FLAG)
                buf_printf(out, " %s", option_help_value_name(option));
        return out->len - before;
}

/* "[default: 50s; from 1s to 1h; KICKOFF_PING]" on a line of its own. */
static void add_facts(const struct option_program *program, const struct option *option,
                      size_t indent, struct buf *out)
{
        struct buf facts = BUF_INIT;
        char limits[OPTION_LIMITS_SIZE] = "", variable[OPTION_VARIABLE_SIZE];
        const char *between = "";
        size_t column = indent;

        if (option->default_value != NULL && option->type != OPTION_FLAG) {
                buf_printf(&facts, "default: %s", option->default_value);
                between = "; ";
        }
        if (option->type == OPTION_NUMBER || option->type == OPTION_DURATION)
                option_help_limits(option, limits);
        if (limits[0] != '\0') {
                buf_printf(&facts, "%s%s", between, limits);
                between = "; ";
        }
        if (!program->no_environment) {
                option_help_variable(option, variable);
                buf_printf(&facts, "%s%s%s", between, variable,
                           option->type == OPTION_FLAG ? "=yes" : "");
        }
        if (facts.len > 0) {
                buf_char(&facts, ']');
                buf_printf(out, "\n%*s[", (int)indent++, "");
                column++;
                add_wrapped(out, facts.failed ? "out of memory]" : facts.data, indent, &column);
        }
        buf_fini(&facts);
}

static void help_row(const struct option_program *program, const struct option *option,
                     size_t indent, struct buf *out)
{
        size_t column = heading(option, out);

        if (column + 2 > indent) {
                buf_char(out, '\n');
                column = 0;
        }
        buf_printf(out, "%*s", (int)(indent - column), "");
        column = indent;
        add_wrapped(out, option->help, indent, &column);
        add_facts(program, option, indent, out);
        buf_char(out, '\n');
}

void option_help(const struct option_program *program, struct buf *out)
{
        static const char *const own_rows[][2] = { { "  -h, --help", "Show this and stop." },
                                                   { "  --version",
                                                     "Show the version and stop." } };
        struct buf scratch = BUF_INIT;
        size_t indent = strlen(own_rows[0][0]) + 2, column = 0;

        for (size_t i = 0; i < program->n; i++) {
                size_t wanted = heading(&program->options[i], &scratch) + 2;

                if (wanted > indent)
                        indent = wanted < HELP_INDENT ? wanted : HELP_INDENT;
        }
        buf_fini(&scratch);
        buf_printf(out, "Usage: %s\n\n", program->usage);
        add_wrapped(out, program->summary, 0, &column);
        buf_str(out, "\n\nOptions:\n");
        for (size_t i = 0; i < program->n; i++)
                help_row(program, &program->options[i], indent, out);
        for (size_t i = 0; i < countof(own_rows); i++)
                buf_printf(out, "%-*s%s\n", (int)indent, own_rows[i][0], own_rows[i][1]);
        if (program->n > 0 && !program->no_environment)
                buf_str(out, "\nThe command line wins over the environment.\n");
        if (program->epilogue != NULL) {
                buf_printf(out, "\n%s", program->epilogue);
                if (program->epilogue[strlen(program->epilogue) - 1] != '\n')
                        buf_char(out, '\n');
        }
}
