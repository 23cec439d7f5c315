/* gateway/gateway_metrics.h -- what a node's workers count: one row each, shown at /metrics. */
#pragma once

#include "base/metrics.h"
#include "gateway/entrance.h"
#include "gateway/ladder.h"
#include "proto/close.h"
#include "proto/message.h"

extern struct metric m_sessions[2], m_begun[2]; /* by session.is_stream */
extern struct metric m_devices, m_guests, m_blocked, m_uring;
extern struct metric m_connects_recovered, m_connects_reset, m_connects_waiting;
extern struct metric m_signals, m_skips, m_bytes, m_acks, m_frames_in, m_broadcasts, m_broadcast_us;
extern struct metric m_accepted, m_accept_paused, m_head_timeouts, m_no_memory, m_young_lost;
extern struct metric m_ends_held;
extern struct metric m_evicted, m_proxy_broken, m_admission_rate, m_shed[SHED_KINDS];
extern struct metric m_resets[RESET_REASONS], m_closes[CLOSE_KINDS];

void gateway_metrics_register(void);            /* main thread; twice is harmless */
extern struct metric m_overload_step, m_gauges[LADDER_GAUGES]; /* the control thread's */

void gateway_metrics_overload(enum ladder_step step, enum ladder_gauge gauge); /* a step was taken */
void gateway_metrics_refused(unsigned status);  /* a request answered with an error at the door */
void gateway_metrics_prefetch(unsigned status); /* a prefetch answered */
