/* loadtest/machine.h -- on what, with what and when something was measured: figures without it are
 * worth nothing. */
#pragma once

struct machine {
        char cpu[96], system[96], kernel[80]; /* "unknown" where it cannot be found out */
        char commit[48]; /* of the sources this program lies in; "+changes": not quite that */
        char date[32];   /* UTC */
        unsigned cores;
        double memory_gib;
};

void machine_describe(struct machine *ret_machine);
