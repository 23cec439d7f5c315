/* producer/cli/table.h -- rows of texts under headings, each column as wide as its widest. Pure. */
#pragma once

#include "base/buf.h"
#include "producer/cli/cli.h"

#define TABLE_COLUMNS_MAX 10

struct table {
        const char *const *heads;
        size_t columns;
        struct buf cells; /* all texts, each with its NUL */
        unsigned n;       /* cells so far */
        unsigned widths[TABLE_COLUMNS_MAX];
};

void table_init(struct table *table, const char *const *heads,
                size_t columns); /* `heads` is borrowed */
/* A cell is what was appended to table->cells since it was `from` long. Cells come row by row. */
void table_end_cell(struct table *table, size_t from);
/* Appends it, or the line `empty` if there is no row, and frees the table's memory. */
void table_show(struct table *table, const struct cli *cli, const char *empty, struct buf *out);
