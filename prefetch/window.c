/* prefetch/window.c -- the arithmetic of spreading, and its limits. */
#include "prefetch/window.h"

uint64_t window_share(const struct window_fleet *fleet)
{
        if (fleet->nodes == 0)
                return 0;
        return fleet->devices / fleet->nodes + (fleet->devices % fleet->nodes != 0);
}

uint32_t window_ms(uint64_t own, uint64_t share, uint32_t rate)
{
        uint64_t devices = own > share ? own : share, per_s = rate > 0 ? rate : 1;

        if (devices / per_s >= WINDOW_MAX_MS / 1000) /* before it is multiplied */
                return WINDOW_MAX_MS;
        return (uint32_t)(devices * 1000 / per_s);
}

uint32_t window_refresh_ms(uint64_t own, const struct window_fleet *fleet, uint32_t rate,
                           uint32_t floor_ms)
{
        uint32_t span_ms = window_ms(own, window_share(fleet), rate);

        if (fleet->nodes == 0)
                return span_ms > floor_ms ? span_ms : floor_ms;
        return span_ms > WINDOW_REFRESH_MIN_MS ? span_ms : WINDOW_REFRESH_MIN_MS;
}
