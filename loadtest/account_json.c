/* loadtest/account_json.c -- an account as one JSON object: the fields of report_object(), and
 * beside them the scenario, its figures, judgements and marks, and, where wanted, every series. */
#include "loadtest/account.h"

#include <jansson.h>

static json_t *number_or_null(double value)
{
        json_t *number = json_real(value); /* NULL for what JSON cannot hold */

        return number != NULL ? number : json_null();
}

static json_t *figures_json(const struct account *account)
{
        json_t *object = json_object();

        for (unsigned i = 0; i < account->n_figures; i++) {
                const struct figure *figure = &account->figures[i];

                json_object_set_new(object, figure->key,
                                    json_pack("{s:o, s:s, s:s}", "value",
                                              number_or_null(figure->value), "unit", figure->unit,
                                              "what", figure->what));
        }
        return object;
}

static json_t *judgements_json(const struct account *account)
{
        json_t *array = json_array();

        for (unsigned i = 0; i < account->n_judgements; i++)
                json_array_append_new(array, json_pack("{s:b, s:s}", "kept",
                                                       (int)account->judgements[i].kept, "sentence",
                                                       account->judgements[i].sentence));
        return array;
}

static json_t *marks_json(const struct account *account)
{
        json_t *array = json_array();

        for (unsigned i = 0; i < account->n_marks; i++)
                json_array_append_new(array, json_pack("{s:f, s:s}", "s", account->marks[i].s,
                                                       "label", account->marks[i].label));
        return array;
}

static json_t *series_json(const struct series *series)
{
        json_t *object = json_object(), *columns = json_object();

        for (unsigned c = 0; c < SERIES_COLUMNS; c++) {
                json_t *values = json_array();

                for (size_t i = 0; i < series->n; i++)
                        json_array_append_new(values, json_integer((json_int_t)series->rows[i][c]));
                json_object_set_new(columns, series_name[c], values);
        }
        json_object_set_new(object, "row_s", json_real(series_row_s(series)));
        json_object_set_new(object, "counts", columns);
        return object;
}

static json_t *nodes_json(const struct watch *watch)
{
        json_t *array = json_array();

        for (unsigned i = 0; i < watch->n; i++) {
                const struct watch_process *process = &watch->processes[i];
                json_t *s = json_array(), *bytes = json_array(), *cores = json_array();

                for (size_t k = 0; k < process->n; k++) {
                        json_array_append_new(s, json_real(process->points[k].s));
                        json_array_append_new(bytes,
                                              json_integer((json_int_t)process->points[k].bytes));
                        json_array_append_new(cores, json_real(process->points[k].cores));
                }
                json_array_append_new(array,
                                      json_pack("{s:s, s:o, s:o, s:o}", "name", process->name, "s",
                                                s, "bytes", bytes, "cores", cores));
        }
        return array;
}

static json_t *histograms_json(const struct report *report)
{
        json_t *object = json_object();

        for (unsigned t = 0; t < TIMINGS; t++) {
                const struct histogram *h = &report->result.timings[t];
                json_t *rows = json_array();

                for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
                        if (h->counts[i] > 0)
                                json_array_append_new(
                                    rows, json_pack("[I, I]", (json_int_t)histogram_upper(i),
                                                    (json_int_t)h->counts[i]));
                json_object_set_new(object, report_timing_name[t], rows);
        }
        return object;
}

static json_t *moments_json(const struct moments *moments)
{
        json_t *rows = json_array();

        for (unsigned i = 0; i < MOMENTS_BINS; i++)
                if (moments->counts[i] > 0)
                        json_array_append_new(rows, json_pack("[I, I]", (json_int_t)moments_bin_us(i),
                                                              (json_int_t)moments->counts[i]));
        return rows;
}

struct json_t *account_object(const struct account *account, bool with_series)
{
        json_t *root = report_object(&account->report);

        json_object_set_new(root, "scenario", json_string(account->scenario));
        json_object_set_new(root, "passed", json_boolean(account_passed(account)));
        json_object_set_new(root, "lasted_s", json_real(account->lasted_s));
        json_object_set_new(root, "zero_s", json_real(account->zero_s));
        json_object_set_new(root, "zero",
                            account->zero_label[0] != '\0' ? json_string(account->zero_label)
                                                           : json_null());
        json_object_set_new(root, "figures", figures_json(account));
        json_object_set_new(root, "judgements", judgements_json(account));
        json_object_set_new(root, "marks", marks_json(account));
        if (with_series) {
                json_object_set_new(root, "promise", json_string(account->promise));
                json_object_set_new(root, "series", series_json(&account->series));
                json_object_set_new(root, "nodes", nodes_json(&account->watch));
                json_object_set_new(root, "histograms_us", histograms_json(&account->report));
                if (account->report.result.moments.total > 0)
                        json_object_set_new(root, "moments_us",
                                            moments_json(&account->report.result.moments));
        }
        return root;
}
