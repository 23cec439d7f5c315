/* loadtest/plot.h -- drawings for reports: lines, areas and bars over one x axis, as SVG that needs
 * nobody else: no script, no font, no style sheet. Colours are the light ones by attribute and the
 * dark ones by prefers-color-scheme, so it can be read in a page, as a file, and by a rasteriser.
 * Drawn 480 wide, so that its letters are still letters on a telephone. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

#define PLOT_COLOURS 6

enum plot_kind {
        PLOT_LINE,
        PLOT_AREA, /* a line with its ground filled */
        PLOT_BARS  /* x[i] is where bar i begins; all are as wide as the first */
};

struct plot_line {
        const char *name; /* in the legend */
        enum plot_kind kind;
        unsigned colour;     /* 0 .. PLOT_COLOURS - 1 */
        const double *x, *y; /* x rises; a y that is no number is left out */
        size_t n;
};

struct plot_mark { /* something that happened at a moment */
        double x;
        const char *label;
};

struct plot {
        const char *title;
        const char *x_label, *y_label; /* with units */
        const struct plot_line *lines;
        unsigned n_lines;
        const struct plot_mark *marks; /* those outside the lines' x are left out */
        unsigned n_marks;
        double y_reach; /* the y axis goes at least so far; 0 = as far as the lines */
        bool is_file;   /* for a file of its own: with namespace, ground and style */
};

void plot_svg(const struct plot *plot, struct buf *out);
/* What a page with plots puts into its <style> once. */
void plot_style(struct buf *out);
/* The step between ticks: the smallest of 1, 2 and 5 times a power of ten with which `span` has
 * `most` steps at most. */
double plot_step(double span, unsigned most);
/* "0", "0.25", "40", "12k", "1.5M": up to three digits that tell. */
void plot_number(double value, char out[16]);
