/* producer/cli/table.c -- see table.h. */
#include "producer/cli/table.h"

#include <string.h>

/* Characters, not bytes: UTF-8 continuation bytes take no room. */
static unsigned width_of(const char *text)
{
        unsigned width = 0;

        for (; *text != '\0'; text++)
                width += ((unsigned char)*text & 0xc0) != 0x80;
        return width;
}

void table_init(struct table *table, const char *const *heads, size_t columns)
{
        check(columns <= TABLE_COLUMNS_MAX);
        *table = (struct table){ .heads = heads, .columns = columns };
        for (size_t i = 0; i < columns; i++)
                table->widths[i] = width_of(heads[i]);
}

/* Ends the cell that was begun at `from` in table->cells. */
void table_end_cell(struct table *table, size_t from)
{
        unsigned column = table->n++ % (unsigned)table->columns;

        buf_char(&table->cells, '\0');
        if (table->cells.failed)
                return;

        unsigned width = width_of(table->cells.data + from);

        if (width > table->widths[column])
                table->widths[column] = width;
}

static void table_row(const struct table *table, const char *const *texts, struct buf *out)
{
        for (size_t i = 0; i < table->columns; i++) {
                buf_str(out, texts[i]);
                if (i + 1 < table->columns)
                        buf_printf(out, "%*s", (int)(table->widths[i] - width_of(texts[i]) + 2),
                                   "");
        }
        buf_char(out, '\n');
}

void table_show(struct table *table, const struct cli *cli, const char *empty, struct buf *out)
{
        const char *texts[TABLE_COLUMNS_MAX], *at = table->cells.data;

        if (table->cells.failed)
                out->failed = true;
        if (table->n == 0)
                buf_printf(out, "%s\n", empty);
        if (table->n == 0 || table->cells.failed) {
                buf_fini(&table->cells);
                return;
        }
        if (cli->colour)
                buf_str(out, "\033[1m");
        table_row(table, table->heads, out);
        if (cli->colour)
                buf_str(out, "\033[0m");
        for (unsigned i = 0; i < table->n; i++) {
                texts[i % table->columns] = at;
                at += strlen(at) + 1;
                if ((i + 1) % table->columns == 0)
                        table_row(table, texts, out);
        }
        buf_fini(&table->cells);
}
