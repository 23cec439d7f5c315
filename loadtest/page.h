/* loadtest/page.h -- accounts as a page for people: verdict, figures, plots, how it was measured.
 * One account, or two that are compared in the same plots. Pure. */
#pragma once

#include "base/buf.h"
#include "loadtest/account.h"
#include "loadtest/machine.h"
#include "loadtest/scenario.h"

struct page {
        const struct scenario *scenario;
        const struct account *accounts;
        unsigned n; /* 1, or 2 */
        const struct machine *machine;
        const char *command;
};

void page_html(const struct page *page, struct buf *out);
/* The first plot that has something to show, as a file of its own. */
void page_picture(const struct page *page, struct buf *out);
/* All of it, every series too. */
void page_json(const struct page *page, bool with_series, struct buf *out);
