/* base/option_man.h -- the manual page of a program, in man(7) macros, from the same table as its
 * --help. Every program that reads its options with option_parse() prints it for --help-man, which
 * --help does not list: it is for packagers (deploy/man). */
#pragma once

#include "base/buf.h"
#include "base/option.h"

/* "kickoff event create" becomes KICKOFF-EVENT-CREATE. */
void option_man(const struct option_program *program, struct buf *out);
