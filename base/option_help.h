/* base/option_help.h -- the words that --help (option_help.c) and complaints (option.c) share.
 * Private to these two; programs include base/option.h. */
#pragma once

#include "base/option.h"

#define OPTION_NAME_MAX      48 /* bytes */
#define OPTION_VARIABLE_SIZE (sizeof("KICKOFF_") + OPTION_NAME_MAX)
#define OPTION_VALUE_SIZE    64
#define OPTION_LIMITS_SIZE   (2 * OPTION_VALUE_SIZE + 16)

/* "KICKOFF_ADMIN_TOKEN_FILE" for "admin-token-file". */
void option_help_variable(const struct option *option, char text[OPTION_VARIABLE_SIZE]);
/* "HOST:PORT", or a word for its type where the table names none. */
const char *option_help_value_name(const struct option *option);
/* A number or duration as the user would write it: "64", "1h30m". */
void option_help_value(const struct option *option, int64_t value, char text[OPTION_VALUE_SIZE]);
/* "from 1 to 64", "at least 1s", "at most 10", or "" where there is no limit worth telling. */
void option_help_limits(const struct option *option, char text[OPTION_LIMITS_SIZE]);
