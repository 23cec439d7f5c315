/* Numbers and times, as people read them. */

const whole = new Intl.NumberFormat("en");
const clockOf = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const dayOf = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });

export const count = (n) => whole.format(n);
export const devices = (n) => `${count(n)} ${n === 1 ? "device" : "devices"}`;
export const clock = (ms) => clockOf.format(ms);

/* "20:00:00", and the day if it is not the one of `now`. */
export function moment(ms, now) {
    const isSameDay = new Date(ms).toDateString() === new Date(now).toDateString();

    return isSameDay ? clock(ms) : `${dayOf.format(ms)}, ${clock(ms)}`;
}

/* Counting: "0:07", "12:05", "3:00:00", "2 d 4 h". */
export function countdown(ms) {
    const s = Math.floor(Math.abs(ms) / 1000);
    const two = (n) => String(n).padStart(2, "0");

    if (s >= 2 * 86400)
        return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
    if (s >= 3600)
        return `${Math.floor(s / 3600)}:${two(Math.floor((s % 3600) / 60))}:${two(s % 60)}`;
    return `${Math.floor(s / 60)}:${two(s % 60)}`;
}

/* How long something took: "38 ms", "1.2 s", "9 s", "2 min 5 s". */
export function took(ms) {
    if (ms === null || ms === undefined)
        return "–";
    if (ms < 1000)
        return `${Math.round(ms)} ms`;
    if (ms < 60000)
        return `${Number((ms / 1000).toFixed(ms < 10000 ? 1 : 0))} s`;
    return `${Math.floor(ms / 60000)} min ${Math.round((ms % 60000) / 1000)} s`;
}

export function percent(part, of) {
    const value = (100 * part) / of;

    if (of === 0)
        return "–"; /* nobody of nobody is neither all nor none */
    /* 99.97 is not all: people act on "100 %". */
    return `${value < 100 && value > 99 ? Math.floor(value * 100) / 100 : Math.floor(value)} %`;
}

/* For <input type="datetime-local">, which speaks the local time without saying so. */
export function toLocalInput(ms) {
    const date = new Date(ms - new Date(ms).getTimezoneOffset() * 60000);

    return date.toISOString().slice(0, 19);
}

export function fromLocalInput(text) {
    return text === "" ? NaN : new Date(text).getTime();
}
