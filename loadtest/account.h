/* loadtest/account.h -- what a scenario came to: the report of the delivery (loadtest/report.h),
 * the figures and judgements of its own, what happened when, and what the nodes used. In words and
 * as JSON. Holds no opinion: scenarios put in figures and judge by them. Pure. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "loadtest/report.h"
#include "loadtest/series.h"
#include "loadtest/watch.h"

#define ACCOUNT_FIGURES_MAX    40
#define ACCOUNT_JUDGEMENTS_MAX 16
#define ACCOUNT_MARKS_MAX      24

struct figure {
        const char *key;  /* in the JSON: "peak_requests_per_s"; lives for ever */
        const char *what; /* for people: "most prefetch requests in a second"; lives for ever */
        const char *unit; /* "/s", "s", "ms", "" */
        double value;
        bool is_tile; /* worth large letters */
};

struct judgement {
        bool kept;
        char sentence[240];
};

struct account_mark {
        double s; /* since the origin */
        char label[40];
};

struct account {
        const char *scenario, *sentence, *promise; /* borrowed */
        char why[320]; /* it could not be run, or not to its end: a sentence without its stop */
        char event[EVENT_ID_MAX + 1];
        struct report report;
        struct series series;
        struct watch watch;
        double zero_s; /* the moment it is all about, since the origin: the x axis counts from it */
        char zero_label[40]; /* "start", "kill -9"; "": there was none */
        double lasted_s;
        unsigned n_figures, n_judgements, n_marks;
        struct figure figures[ACCOUNT_FIGURES_MAX];
        struct judgement judgements[ACCOUNT_JUDGEMENTS_MAX];
        struct account_mark marks[ACCOUNT_MARKS_MAX];
};

void account_init(struct account *account);
void account_fini(struct account *account);
void account_figure(struct account *account, const char *key, const char *what, const char *unit,
                    double value);
void account_tile(struct account *account, const char *key, const char *what, const char *unit,
                  double value);
double account_value(const struct account *account, const char *key); /* 0 if there is none */
void account_judge(struct account *account, bool kept, const char *fmt, ...) printf_like(3, 4);
/* Beyond ACCOUNT_MARKS_MAX they are dropped. */
void account_mark(struct account *account, double s, const char *label);
/* The judgements that every scenario is held to: told, lost, double, reset, refused. */
void account_judge_delivery(struct account *account);
/* The figures that every scenario has. */
void account_add_common(struct account *account);
bool account_passed(const struct account *account);

void account_number(double value, char out[24]); /* "12,345", "0.42" */
void account_text(const struct account *account, struct buf *out);
struct json_t;
/* With or without the series; NULL: no memory. */
struct json_t *account_object(const struct account *account, bool with_series);
