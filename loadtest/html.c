/* loadtest/html.c -- see html.h. */
#include "loadtest/html.h"

#include "loadtest/plot.h"

void html_text(struct buf *out, const char *text)
{
        for (; *text != '\0'; text++) {
                switch (*text) {
                case '&':
                        buf_str(out, "&amp;");
                        break;
                case '<':
                        buf_str(out, "&lt;");
                        break;
                case '>':
                        buf_str(out, "&gt;");
                        break;
                case '"':
                        buf_str(out, "&quot;");
                        break;
                case '\'':
                        buf_str(out, "&#39;");
                        break;
                default:
                        buf_char(out, (unsigned char)*text < 0x20 && *text != '\n' && *text != '\t'
                                          ? '?'
                                          : *text);
                }
        }
}

static const char style[] =
    ":root{color-scheme:light dark;--ink:#1c232c;--dim:#5b6673;--ground:#ffffff;--panel:#f5f7f9;"
    "--line:#dfe4ea;--good:#12784b;--bad:#b3261e}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e4e8ee;--dim:#9aa5b4;--ground:#14181e;"
    "--panel:#1b2129;--line:#343c48;--good:#4fcf97;--bad:#ff8a80}}"
    "*{box-sizing:border-box}"
    "body{margin:0 auto;max-width:1060px;padding:20px 16px 48px;background:var(--ground);"
    "color:var(--ink);font:16px/1.5 system-ui,sans-serif}"
    "h1{font-size:1.5rem;line-height:1.25;margin:0 0 .3rem}h2{font-size:1.1rem;margin:2rem 0 .6rem}"
    "p{margin:.3rem 0;max-width:46rem}.dim{color:var(--dim)}"
    ".verdict{display:inline-block;font-weight:700;padding:.1rem .6rem;border-radius:6px;"
    "border:2px solid;margin:0 0 .6rem}.good{color:var(--good)}.bad{color:var(--bad)}"
    "ul{list-style:none;margin:.6rem 0;padding:0}li{padding:.25rem 0 .25rem 1.7rem;"
    "position:relative;max-width:46rem}li b{position:absolute;left:0;width:1.2rem;"
    "text-align:center}"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:10px;"
    "margin:1rem 0}.tile{background:var(--panel);border-radius:8px;padding:.7rem .8rem}"
    ".tile strong{display:block;font-size:1.45rem;line-height:1.2;"
    "font-variant-numeric:tabular-nums}.tile span{color:var(--dim);font-size:.85rem;"
    "line-height:1.3;display:block}"
    ".plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));"
    "gap:22px}figure{margin:0;min-width:0}figure.wide{grid-column:1/-1;max-width:760px}"
    "figcaption{color:var(--dim);font-size:.85rem;line-height:1.35;padding:.2rem 0 0 .5rem}"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;"
    "font-size:.92rem}th,td{text-align:right;padding:.28rem .7rem;border-bottom:1px solid "
    "var(--line);overflow-wrap:break-word}th:first-child,td:first-child{text-align:left;"
    "padding-left:0}th{color:var(--dim);font-weight:600}";

void html_begin(struct buf *out, const char *title)
{
        buf_str(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
                     "<title>");
        html_text(out, title);
        buf_str(out, "</title>\n<style>");
        buf_str(out, style);
        plot_style(out);
        buf_str(out, "</style>\n</head>\n<body>\n");
}

void html_end(struct buf *out)
{
        buf_str(out, "</body>\n</html>\n");
}

static void element(struct buf *out, const char *open, const char *text, const char *close)
{
        buf_str(out, open);
        html_text(out, text);
        buf_str(out, close);
}

void html_verdict(struct buf *out, const char *heading, bool passed, const char *verdict,
                  const char *sentence)
{
        element(out, "<h1>", heading, "</h1>\n");
        element(out, passed ? "<p class=\"verdict good\">" : "<p class=\"verdict bad\">", verdict,
                "</p>\n");
        html_paragraph(out, sentence);
}

void html_heading(struct buf *out, const char *text)
{
        element(out, "<h2>", text, "</h2>\n");
}

void html_paragraph(struct buf *out, const char *text)
{
        element(out, "<p>", text, "</p>\n");
}

void html_list_begin(struct buf *out)
{
        buf_str(out, "<ul>\n");
}

void html_list_item(struct buf *out, bool kept, const char *sentence)
{
        element(out,
                kept ? "<li><b class=\"good\">&#10003;</b>" : "<li><b class=\"bad\">&#10007;</b>",
                sentence, "</li>\n");
}

void html_list_end(struct buf *out)
{
        buf_str(out, "</ul>\n");
}

void html_tiles_begin(struct buf *out)
{
        buf_str(out, "<div class=\"tiles\">\n");
}

void html_tile(struct buf *out, const char *value, const char *what)
{
        element(out, "<div class=\"tile\"><strong>", value, "</strong>");
        element(out, "<span>", what, "</span></div>\n");
}

void html_tiles_end(struct buf *out)
{
        buf_str(out, "</div>\n");
}

void html_plots_begin(struct buf *out)
{
        buf_str(out, "<div class=\"plots\">\n");
}

void html_plot_begin(struct buf *out, bool is_wide)
{
        buf_str(out, is_wide ? "<figure class=\"wide\">" : "<figure>");
}

void html_plot_end(struct buf *out, const char *caption)
{
        if (caption != NULL)
                element(out, "<figcaption>", caption, "</figcaption>");
        buf_str(out, "</figure>\n");
}

void html_plots_end(struct buf *out)
{
        buf_str(out, "</div>\n");
}

static void row(struct buf *out, const char *cell, const char *const *cells, unsigned columns)
{
        buf_str(out, "<tr>");
        for (unsigned i = 0; i < columns; i++) {
                buf_printf(out, "<%s>", cell);
                html_text(out, cells[i]);
                buf_printf(out, "</%s>", cell);
        }
        buf_str(out, "</tr>\n");
}

void html_table_begin(struct buf *out, const char *const *heads, unsigned columns)
{
        buf_str(out, "<div class=\"scroll\"><table>\n");
        if (heads != NULL)
                row(out, "th", heads, columns);
}

void html_table_row(struct buf *out, const char *const *cells, unsigned columns)
{
        row(out, "td", cells, columns);
}

void html_table_end(struct buf *out)
{
        buf_str(out, "</table></div>\n");
}
