/* loadtest/html.h -- the frame of a report as one HTML file that asks nobody for anything: no
 * script, no font, no picture from elsewhere. Light and dark as the reader's system is, one column
 * on a telephone. Well-formed as XML, too, so that any parser can check it. Pure. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"

/* `text` with & < > " ' made harmless, and control characters, which XML cannot hold, as '?'.
 * Bytes that are no UTF-8 are the caller's to keep out. */
void html_text(struct buf *out, const char *text);

void html_begin(struct buf *out, const char *title);
void html_end(struct buf *out);
/* The first thing on the page: did it pass, and what was done in one sentence. */
void html_verdict(struct buf *out, const char *heading, bool passed, const char *verdict,
                  const char *sentence);
void html_heading(struct buf *out, const char *text);
void html_paragraph(struct buf *out, const char *text);

/* A list of sentences, each kept or not. */
void html_list_begin(struct buf *out);
void html_list_item(struct buf *out, bool kept, const char *sentence);
void html_list_end(struct buf *out);

/* Numbers worth large letters, side by side. */
void html_tiles_begin(struct buf *out);
void html_tile(struct buf *out, const char *value, const char *what);
void html_tiles_end(struct buf *out);

/* Plots, two beside each other where there is room. What lies between is the caller's <svg>. */
void html_plots_begin(struct buf *out);
void html_plot_begin(struct buf *out, bool is_wide);
void html_plot_end(struct buf *out, const char *caption); /* NULL: none */
void html_plots_end(struct buf *out);

/* cells: `columns` texts; the first is what the row is about. */
void html_table_begin(struct buf *out, const char *const *heads, unsigned columns);
void html_table_row(struct buf *out, const char *const *cells, unsigned columns);
void html_table_end(struct buf *out);
