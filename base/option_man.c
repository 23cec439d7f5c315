/* base/option_man.c -- see option_man.h. Decides looks only. Macros: man(7) as groff and mandoc
 * both have it, and of those only the old ones. */
#include "base/option_man.h"

#include <stdio.h>
#include <string.h>

#include "base/option_help.h"

/* Text that roff takes for text: no control lines, no escapes, and dashes that can be copied. */
static void add_text(struct buf *out, const char *text)
{
        bool at_start = true;

        for (; *text != '\0'; text++) {
                if (at_start && (*text == '.' || *text == '\''))
                        buf_str(out, "\\&");
                at_start = *text == '\n';
                if (*text == '\\')
                        buf_str(out, "\\e");
                else if (*text == '-')
                        buf_str(out, "\\-");
                else
                        buf_char(out, *text);
        }
}

static void add_line(struct buf *out, const char *text)
{
        add_text(out, text);
        buf_char(out, '\n');
}

static void add_name(struct buf *out, const char *name, bool loud)
{
        for (; *name != '\0'; name++) {
                char c = *name;

                if (c == ' ')
                        c = '-';
                if (loud && c >= 'a' && c <= 'z')
                        c = (char)(c - 'a' + 'A');
                if (c == '-')
                        buf_char(out, '\\');
                buf_char(out, c);
        }
}

/* "Default 50s, from 1s to 1h, KICKOFF_PING in the environment." */
static void add_facts(struct buf *out, const struct option_program *program,
                      const struct option *option)
{
        char limits[OPTION_LIMITS_SIZE] = "", variable[OPTION_VARIABLE_SIZE];
        struct buf facts = BUF_INIT;

        if (option->default_value != NULL && option->type != OPTION_FLAG)
                buf_printf(&facts, "Default %s", option->default_value);
        if (option->type == OPTION_NUMBER || option->type == OPTION_DURATION)
                option_help_limits(option, limits);
        if (limits[0] != '\0')
                buf_printf(&facts, "%s%s", facts.len > 0 ? ", " : "Values ", limits);
        if (!program->no_environment) {
                option_help_variable(option, variable);
                buf_printf(&facts, "%s%s%s in the environment", facts.len > 0 ? "; " : "", variable,
                           option->type == OPTION_FLAG ? "=yes" : "");
        }
        if (facts.len > 0) {
                buf_str(out, ".br\n");
                add_text(out, facts.failed ? "" : facts.data);
                buf_str(out, ".\n");
        }
        buf_fini(&facts);
}

static void add_option(struct buf *out, const struct option_program *program,
                       const struct option *option)
{
        buf_str(out, ".TP\n\\fB\\-\\-");
        add_text(out, option->name);
        buf_str(out, "\\fR");
        if (option->type != OPTION_FLAG) {
                buf_str(out, " \\fI");
                add_text(out, option_help_value_name(option));
                buf_str(out, "\\fR");
        }
        buf_char(out, '\n');
        add_line(out, option->help);
        add_facts(out, program, option);
}

/* Examples and lists are laid out for a terminal: they stay as they are. */
static void add_epilogue(struct buf *out, const char *epilogue)
{
        buf_str(out, ".SH NOTES\n.nf\n");
        add_text(out, epilogue);
        if (epilogue[0] != '\0' && epilogue[strlen(epilogue) - 1] != '\n')
                buf_char(out, '\n');
        buf_str(out, ".fi\n");
}

void option_man(const struct option_program *program, struct buf *out)
{
        buf_str(out, ".TH ");
        add_name(out, program->name, true);
        buf_printf(out, " %u \"\" \"Kickoff " KICKOFF_VERSION "\"\n.SH NAME\n",
                   program->section != 0 ? program->section : 1);
        add_name(out, program->name, false);
        buf_str(out, " \\- ");
        add_line(out, program->summary);
        buf_str(out, ".SH SYNOPSIS\n");
        add_line(out, program->usage);
        buf_str(out, ".SH OPTIONS\n");
        for (size_t i = 0; i < program->n; i++)
                add_option(out, program, &program->options[i]);
        buf_str(out, ".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nShow the help and stop.\n"
                     ".TP\n\\fB\\-\\-version\\fR\nShow the version and stop.\n");
        if (program->n > 0 && !program->no_environment)
                buf_str(out, ".PP\nThe command line wins over the environment.\n");
        if (program->epilogue != NULL)
                add_epilogue(out, program->epilogue);
}
