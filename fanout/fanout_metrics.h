/* fanout/fanout_metrics.h -- what this folder counts. */
#pragma once

#include "base/metrics.h"

/*   name               type     text */
#define FANOUT_METRICS(X)                                                                          \
        X(log_seq,          GAUGE,   "kickoff_log_seq", "Number of the last signal this node holds.") \
        X(log_caught_up,    GAUGE,   "kickoff_log_caught_up",                                      \
          "1 while the log's head was confirmed within the last two seconds.")                     \
        X(redis_up,         GAUGE,   "kickoff_redis_up", "1 while both links to Redis are up.")    \
        X(log_gaps,         COUNTER, "kickoff_log_gaps_total", "Gaps read back from the log.")     \
        X(log_repeats,      COUNTER, "kickoff_log_repeats_total", "Messages that came twice.")     \
        X(log_forks,        COUNTER, "kickoff_log_forks_total",                                    \
          "Times the log was found to be another one, or trimmed beyond us, and was read anew.")   \
        X(log_renewals,     COUNTER, "kickoff_log_renewals_total",                                 \
          "Times this node began a new epoch because the log in Redis had lost something.")        \
        X(log_unreadable,   COUNTER, "kickoff_log_unreadable_total",                               \
          "Messages and log entries that this version cannot read.")                               \
        X(primary_changes,  COUNTER, "kickoff_primary_changes_total",                              \
          "Times the Redis we write to was another one than before, by its run id or replication id.") \
        X(writable,         GAUGE,   "kickoff_writable", "1 while this node takes changes.")       \
        X(replicas,         GAUGE,   "kickoff_replicas", "Replicas of the Redis we write to.")     \
        X(report_writes,    COUNTER, "kickoff_report_writes_total",                                \
          "Parts of delivery reports written to Redis: at most two a second and signal.")          \
        X(report_failures,  COUNTER, "kickoff_report_failures_total",                              \
          "Parts of delivery reports that Redis did not take; they are written again.")            \
        X(report_unreadable, COUNTER, "kickoff_report_unreadable_total",                           \
          "Parts of delivery reports read that made no sense.")                                    \
        X(registered,        COUNTER, "kickoff_devices_registered_total",                          \
          "Devices whose place was written to the registry in Redis.")                             \
        X(registry_failures, COUNTER, "kickoff_registry_failures_total",                           \
          "Writes to the registry, and answers to other nodes, that Redis did not take.")          \
        X(routes_stale,      COUNTER, "kickoff_routes_stale_total",                                \
          "Records of the registry that named a node which did not hold the device any more.")     \
        X(errands_here,      COUNTER, "kickoff_device_questions_total{found=\"here\"}", QUESTIONS)   \
        X(errands_there,     COUNTER, "kickoff_device_questions_total{found=\"there\"}", QUESTIONS)  \
        X(errands_absent,    COUNTER, "kickoff_device_questions_total{found=\"nowhere\"}", QUESTIONS) \
        X(errands_silent,    COUNTER, "kickoff_device_questions_total{found=\"unknown\"}", QUESTIONS) \
        X(errands_all,       COUNTER, "kickoff_device_questions_to_all_total",                     \
          "Questions that all nodes were asked, for the registry did not know.")                   \
        X(appends_committed,   COUNTER, "kickoff_appends_total{outcome=\"committed\"}", APPENDS)   \
        X(appends_replayed,    COUNTER, "kickoff_appends_total{outcome=\"replayed\"}", APPENDS)    \
        X(appends_refused,     COUNTER, "kickoff_appends_total{outcome=\"refused\"}", APPENDS)     \
        X(appends_stale,       COUNTER, "kickoff_appends_total{outcome=\"stale\"}", APPENDS)       \
        X(appends_key_reused,  COUNTER, "kickoff_appends_total{outcome=\"key_reused\"}", APPENDS)  \
        X(appends_unknown,     COUNTER, "kickoff_appends_total{outcome=\"unknown\"}", APPENDS)     \
        X(appends_unavailable, COUNTER, "kickoff_appends_total{outcome=\"unavailable\"}", APPENDS) \
        X(appends_failed,      COUNTER, "kickoff_appends_total{outcome=\"failed\"}", APPENDS)

#define X(name, type, text, help) extern struct metric fanout_metric_##name;
FANOUT_METRICS(X)
#undef X

void fanout_metrics_register(void); /* main thread, before the workers start */
