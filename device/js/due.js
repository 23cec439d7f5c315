/* device/js/due.js -- what is to be shown when. The newest signal of an event says all about it
 * (proto/PROTOCOL.md, section 3), so each event has at most one moment to wait for, and a signal that comes
 * meanwhile takes its place: a delay takes back a start that was announced. A stage is due once: that a
 * bundle changed (same stage, same `at`), or that a reset repeats it, makes it not due again. Pure. */

export class Due {
        #waiting = new Map(); /* event -> state, with the signal's `seq` or 0 */
        #shown = new Map(); /* event -> {stage, at} */

        signal(signal) {
                this.#take(signal);
        }

        /** All there is. `keepsShown`: those marked `shown` have been due already, in a former run. */
        reset(states, keepsShown) {
                const known = new Set(states.map((state) => state.event));

                this.#waiting.clear();
                for (const event of [...this.#shown.keys()])
                        if (!known.has(event))
                                this.#shown.delete(event);
                for (const state of states)
                        if (keepsShown && state.shown)
                                this.#shown.set(state.event, { stage: state.stage, at: state.at });
                        else
                                this.#take({ ...state, seq: 0 });
        }

        #take(state) {
                const shown = this.#shown.get(state.event);

                if (shown !== undefined && shown.stage === state.stage && shown.at === state.at)
                        this.#waiting.delete(state.event);
                else
                        this.#waiting.set(state.event, state);
        }

        /** Mono time of the next one. `ahead` is node's wall clock minus our monotonic one, or null. */
        nextAt(ahead) {
                let at = Infinity;

                if (ahead !== null)
                        for (const state of this.#waiting.values())
                                at = Math.min(at, state.at - ahead);
                return at;
        }

        /** Those whose time has come, in order of `at`. */
        take(ahead, mono) {
                if (ahead === null)
                        return [];

                const due = [...this.#waiting.values()].filter((state) => state.at - ahead <= mono);

                for (const state of due) {
                        this.#waiting.delete(state.event);
                        this.#shown.set(state.event, { stage: state.stage, at: state.at });
                }
                return due.sort((a, b) => a.at - b.at || a.seq - b.seq);
        }
}
