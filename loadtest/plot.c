/* loadtest/plot.c -- see plot.h. A series longer than the plot is wide is drawn by the highest and
 * the lowest value of each column of pixels, so that a peak of a tenth of a second is never lost.
 */
#include "loadtest/plot.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "loadtest/html.h"

#define WIDTH      480
#define HEIGHT     290
#define LEFT       52
#define RIGHT      14
#define BOTTOM     42
#define LEGEND_TOP 38
#define ROW        16
#define LETTER     6.7 /* about the width of one, at 12 px */
#define TICKS_X    7
#define MARK_ROW   14
#define MARK_ROWS  3
#define MARKS_MAX  32
#define TICKS_Y    5

static const char *const light[PLOT_COLOURS] = { "#1f6fd0", "#d9542b", "#1b8a5a",
                                                 "#8a4fc4", "#b07a00", "#c23b78" };
static const char *const dark[PLOT_COLOURS] = { "#6cb0ff", "#ff8f66", "#4fcf97",
                                                "#c39bf5", "#e8b84a", "#f586b5" };

struct frame {
        const struct plot *plot;
        struct buf *out;
        double x0, x1, y1;  /* of the data; y begins at 0 */
        double top, bottom; /* pixels */
        double label_y;
        double mark_x[MARKS_MAX]; /* where the label begins */
        unsigned mark_row[MARKS_MAX];
};

double plot_step(double span, unsigned most)
{
        double power, step;

        if (!(span > 0) || !isfinite(span))
                return 1;
        power = pow(10, floor(log10(span / most)));
        step = power;
        if (span / step > most)
                step = 2 * power;
        if (span / step > most)
                step = 5 * power;
        if (span / step > most)
                step = 10 * power;
        return step;
}

void plot_number(double value, char out[16])
{
        double size = fabs(value);
        const char *unit = size >= 999.5e6   ? "G"
                           : size >= 999.5e3 ? "M"
                           : size >= 9999.5  ? "k"
                                             : "";
        double told = value / (*unit == 'G' ? 1e9 : *unit == 'M' ? 1e6 : *unit == 'k' ? 1e3 : 1);
        int digits = fabs(told) >= 100 || told == 0 ? 0 : fabs(told) >= 10 ? 1 : 2;

        if (size < 0.995 && size > 0)
                digits = size >= 0.01 ? 2 : 3;
        snprintf(out, 12, "%.*f", digits, told);
        if (strchr(out, '.') != NULL) {
                size_t len = strlen(out);

                while (out[len - 1] == '0')
                        out[--len] = '\0';
                if (out[len - 1] == '.')
                        out[--len] = '\0';
        }
        if (strcmp(out, "-0") == 0)
                strcpy(out, "0");
        strcat(out, unit);
}

void plot_style(struct buf *out)
{
        buf_str(out, "svg.plot{font:12px system-ui,sans-serif;width:100%;height:auto;display:block}"
                     "@media(prefers-color-scheme:dark){svg.plot .ink{fill:#e4e8ee}"
                     "svg.plot .dim{fill:#9aa5b4}svg.plot .grid{stroke:#343c48}"
                     "svg.plot .axis{stroke:#76818f}svg.plot .ground{fill:#14181e}");
        for (unsigned i = 0; i < PLOT_COLOURS; i++)
                buf_printf(out, "svg.plot .s%u{stroke:%s}svg.plot .f%u{fill:%s}", i, dark[i], i,
                           dark[i]);
        buf_str(out, "}");
}

static double pixel_x(const struct frame *frame, double x)
{
        return LEFT + (x - frame->x0) / (frame->x1 - frame->x0) * (WIDTH - LEFT - RIGHT);
}

static double pixel_y(const struct frame *frame, double y)
{
        return frame->bottom - y / frame->y1 * (frame->bottom - frame->top);
}

static double bar_width(const struct plot_line *line)
{
        return line->kind == PLOT_BARS && line->n > 1 ? line->x[1] - line->x[0] : 0;
}

/* False: there is nothing to draw. */
static bool measure(struct frame *frame)
{
        const struct plot *plot = frame->plot;
        bool found = false;
        double step;

        frame->y1 = plot->y_reach;
        for (unsigned i = 0; i < plot->n_lines; i++) {
                const struct plot_line *line = &plot->lines[i];

                for (size_t k = 0; k < line->n; k++) {
                        double x = line->x[k];

                        if (!isfinite(line->y[k]) || !isfinite(x))
                                continue;
                        frame->x0 = !found || x < frame->x0 ? x : frame->x0;
                        x += bar_width(line);
                        frame->x1 = !found || x > frame->x1 ? x : frame->x1;
                        frame->y1 = line->y[k] > frame->y1 ? line->y[k] : frame->y1;
                        found = true;
                }
        }
        if (!found)
                return false;
        if (frame->x1 <= frame->x0)
                frame->x1 = frame->x0 + 1;
        if (!(frame->y1 > 0))
                frame->y1 = 1;
        step = plot_step(frame->y1, TICKS_Y);
        frame->y1 = ceil(frame->y1 / step - 1e-9) * step;
        return true;
}

static void draw_text(struct buf *out, double x, double y, const char *anchor, const char *class,
                      const char *text)
{
        buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\" fill=\"%s\"",
                   x, y, anchor, class, strcmp(class, "dim") == 0 ? "#5b6673" : "#1c232c");
        if (strcmp(class, "ink head") == 0)
                buf_str(out, " font-size=\"14\" font-weight=\"600\"");
        buf_char(out, '>');
        html_text(out, text);
        buf_str(out, "</text>");
}

/* Where the plot may begin below it. */
static double draw_legend(const struct frame *frame)
{
        const struct plot *plot = frame->plot;
        double x = LEFT, y = LEGEND_TOP;

        if (plot->n_lines < 2 && (plot->n_lines == 0 || plot->lines[0].name == NULL))
                return y - ROW;
        for (unsigned i = 0; i < plot->n_lines; i++) {
                const struct plot_line *line = &plot->lines[i];
                double width = 18 + LETTER * (double)strlen(line->name) + 14;

                if (x > LEFT && x + width > WIDTH - RIGHT + 14) {
                        x = LEFT;
                        y += ROW;
                }
                buf_printf(frame->out,
                           "<rect x=\"%.1f\" y=\"%.1f\" width=\"12\" height=\"4\" rx=\"2\" "
                           "class=\"f%u\" fill=\"%s\"/>",
                           x, y - 6, line->colour, light[line->colour]);
                draw_text(frame->out, x + 18, y, "start", "ink", line->name);
                x += width;
        }
        return y;
}

static void draw_axes(const struct frame *frame)
{
        const struct plot *plot = frame->plot;
        double step = plot_step(frame->y1, TICKS_Y), span = frame->x1 - frame->x0;
        char text[16];

        for (double y = 0; y <= frame->y1 * 1.0001; y += step) {
                double at = pixel_y(frame, y);

                buf_printf(frame->out,
                           "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" class=\"%s\" "
                           "stroke=\"%s\"/>",
                           LEFT, at, WIDTH - RIGHT, at, y == 0 ? "axis" : "grid",
                           y == 0 ? "#76818f" : "#dfe4ea");
                plot_number(y, text);
                draw_text(frame->out, LEFT - 6, at + 4, "end", "dim", text);
        }
        step = plot_step(span, TICKS_X);
        for (double x = ceil(frame->x0 / step - 1e-9) * step; x <= frame->x1 + span * 1e-9;
             x += step) {
                double at = pixel_x(frame, x);

                buf_printf(frame->out,
                           "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"axis\" "
                           "stroke=\"#76818f\"/>",
                           at, frame->bottom, at, frame->bottom + 4);
                plot_number(fabs(x) < step * 1e-6 ? 0 : x, text);
                draw_text(frame->out, at, frame->bottom + 17, "middle", "dim", text);
        }
        draw_text(frame->out, LEFT - 44, frame->label_y, "start", "dim", plot->y_label);
        draw_text(frame->out, WIDTH - RIGHT, HEIGHT - 8, "end", "dim", plot->x_label);
}

static bool is_shown(const struct frame *frame, const struct plot_mark *mark)
{
        return mark->x >= frame->x0 && mark->x <= frame->x1;
}

/* Labels stand above the plot, where no line is: each in the first row that is free there. */
static unsigned lay_out_marks(struct frame *frame)
{
        double ends[MARK_ROWS] = { 0 };
        unsigned rows = 0;

        for (unsigned i = 0; i < frame->plot->n_marks && i < MARKS_MAX; i++) {
                const struct plot_mark *mark = &frame->plot->marks[i];
                double width = LETTER * (double)strlen(mark->label) + 8, x;
                unsigned row = 0;

                if (!is_shown(frame, mark))
                        continue;
                x = pixel_x(frame, mark->x);
                x = x + width > WIDTH ? WIDTH - width : x;
                while (row < MARK_ROWS && ends[row] > x)
                        row++;
                frame->mark_x[i] = x;
                frame->mark_row[i] = row; /* MARK_ROWS: no room, so without its label */
                if (row == MARK_ROWS)
                        continue;
                ends[row] = x + width;
                rows = row + 1 > rows ? row + 1 : rows;
        }
        return rows;
}

static void draw_marks(const struct frame *frame)
{
        for (unsigned i = 0; i < frame->plot->n_marks && i < MARKS_MAX; i++) {
                const struct plot_mark *mark = &frame->plot->marks[i];
                double x = pixel_x(frame, mark->x), y;

                if (!is_shown(frame, mark))
                        continue;
                y = frame->top - 4 - MARK_ROW * frame->mark_row[i];
                if (frame->mark_row[i] < MARK_ROWS)
                        draw_text(frame->out, frame->mark_x[i] + 3, y, "start", "dim", mark->label);
                else
                        y = frame->top;
                buf_printf(frame->out,
                           "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"axis\" "
                           "stroke=\"#76818f\" stroke-dasharray=\"3 3\"/>",
                           x, y < frame->top ? y - 9 : y, x, frame->bottom);
        }
}

static void draw_bars(const struct frame *frame, const struct plot_line *line)
{
        double width = (bar_width(line) > 0 ? bar_width(line) : 1) / (frame->x1 - frame->x0) *
                       (WIDTH - LEFT - RIGHT);

        for (size_t i = 0; i < line->n; i++) {
                double y;

                if (!isfinite(line->y[i]) || line->y[i] <= 0)
                        continue;
                y = pixel_y(frame, line->y[i]);
                buf_printf(frame->out,
                           "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
                           "class=\"f%u\" fill=\"%s\"/>",
                           pixel_x(frame, line->x[i]), y, width > 1.5 ? width - 0.7 : width,
                           frame->bottom - y, line->colour, light[line->colour]);
        }
}

/* Points of one column of pixels: at most its lowest and its highest, in the order they came. */
static void add_points(const struct frame *frame, const struct plot_line *line)
{
        for (size_t i = 0; i < line->n;) {
                size_t low = i, high = i, end = i;
                int column = (int)pixel_x(frame, line->x[i]);

                while (end < line->n && (int)pixel_x(frame, line->x[end]) == column) {
                        low = !(line->y[low] <= line->y[end]) ? end : low;
                        high = !(line->y[high] >= line->y[end]) ? end : high;
                        end++;
                }
                for (unsigned k = 0; k < 2; k++) {
                        size_t at = (k == 0) == (low < high) ? low : high;

                        if (!isfinite(line->y[at]) || (k == 1 && low == high))
                                continue;
                        buf_printf(frame->out, "%.1f,%.1f ", pixel_x(frame, line->x[at]),
                                   pixel_y(frame, line->y[at]));
                }
                i = end;
        }
}

static void draw_line(const struct frame *frame, const struct plot_line *line)
{
        unsigned colour = line->colour;

        if (line->n == 0)
                return;
        if (line->kind == PLOT_AREA) {
                buf_printf(frame->out, "<polygon points=\"%.1f,%.1f ", pixel_x(frame, line->x[0]),
                           frame->bottom);
                add_points(frame, line);
                buf_printf(
                    frame->out, "%.1f,%.1f\" class=\"f%u\" fill=\"%s\" fill-opacity=\".18\"/>",
                    pixel_x(frame, line->x[line->n - 1]), frame->bottom, colour, light[colour]);
        }
        buf_str(frame->out, "<polyline points=\"");
        add_points(frame, line);
        buf_printf(frame->out,
                   "\" class=\"s%u\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.8\" "
                   "stroke-linejoin=\"round\"/>",
                   colour, light[colour]);
}

static void open_svg(const struct plot *plot, struct buf *out)
{
        buf_printf(out, "<svg class=\"plot\" viewBox=\"0 0 %d %d\" role=\"img\"", WIDTH, HEIGHT);
        if (plot->is_file)
                buf_printf(out,
                           " xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                           "font-family=\"system-ui,sans-serif\" font-size=\"12\"",
                           WIDTH * 3 / 2, HEIGHT * 3 / 2);
        buf_str(out, "><title>");
        html_text(out, plot->title);
        buf_str(out, "</title>");
        if (!plot->is_file)
                return;
        buf_str(out, "<style>");
        plot_style(out);
        buf_printf(out,
                   "</style><rect width=\"%d\" height=\"%d\" class=\"ground\" fill=\"#ffffff\"/>",
                   WIDTH, HEIGHT);
}

void plot_svg(const struct plot *plot, struct buf *out)
{
        struct frame frame = { .plot = plot, .out = out };

        open_svg(plot, out);
        draw_text(out, 8, 18, "start", "ink head", plot->title);
        if (measure(&frame)) {
                frame.label_y = draw_legend(&frame) + 22;
                frame.top = frame.label_y + 10 + MARK_ROW * lay_out_marks(&frame);
                frame.bottom = HEIGHT - BOTTOM;
                draw_axes(&frame);
                for (unsigned i = 0; i < plot->n_lines; i++)
                        if (plot->lines[i].kind == PLOT_BARS)
                                draw_bars(&frame, &plot->lines[i]);
                        else
                                draw_line(&frame, &plot->lines[i]);
                draw_marks(&frame);
        } else {
                draw_text(out, WIDTH / 2.0, HEIGHT / 2.0, "middle", "dim", "nothing to draw");
        }
        buf_str(out, "</svg>\n");
}
