/* device/js/simulator/screen.js -- one screen: a device of the SDK with a wrong clock, and what it draws. It shows only what
 * the SDK hands it: the bundle it fetched before, and the stage when that is due. */
import { KickoffDevice, memoryStorage } from '../sdk/kickoff_device.js';

const STAGE_WORDS = { scheduled: 'Coming up', live: 'Live', halftime: 'Half-time', ended: 'Over', cancelled: 'Called off' };

const signed = (ms, digits = 0) => `${ms < 0 ? '−' : '+'}${Math.abs(ms).toFixed(digits)}`;

/* Wall clock of this page with fractions: what a bystander with a good watch would write down. */
export const bystander = () => performance.timeOrigin + performance.now();

export class Screen {
        #element;
        #options;
        #device = null;
        #storage = memoryStorage();
        #token = '';
        #states = new Map(); /* event -> what the last signal or reset said */
        #shown = new Map(); /* event -> stage on the glass */
        #bundles = new Map();
        #event = '';
        #onChange;
        #flashing = null;
        fetches = []; /* {event, at}: when each body came over the network */
        switches = []; /* {event, stage, at, when} */
        link = 'off';
        #pluggedIn = 0; /* performance.now() */

        constructor(element, options, onChange) {
                this.#element = element;
                this.#options = options;
                this.#onChange = onChange;
                this.#text('.name', options.name);
                this.#text('.cohort', options.cohort);
                this.#text('.clock', options.errorMs === null ? 'the page’s' : `${signed(options.errorMs / 1000, 2)} s`);
                element.querySelector('.plug').addEventListener('click', () =>
                        (this.#device === null ? this.plugIn() : this.unplug()));
                this.plugIn();
        }

        #find(selector) {
                return this.#element.querySelector(selector);
        }

        #text(selector, text) {
                const element = this.#find(selector);

                if (element.textContent !== text)
                        element.textContent = text;
        }

        get states() {
                return [...this.#states.values()];
        }

        get errorMs() {
                return this.#options.errorMs;
        }

        /** What the SDK takes its clock to be off by, and how sure it is; null while it has not asked. */
        get clock() {
                const error = this.#device === null ? null : this.#device.clockError;

                return error === null ? null : { offset: this.#device.clockOffset, error };
        }

        holds(event) {
                const state = this.#states.get(event);
                const bundle = this.#bundles.get(event);

                return state !== undefined && bundle !== undefined && bundle.bundle >= state.bundle;
        }

        plugIn() {
                const { url, id, cohort, platform, errorMs } = this.#options;

                this.#pluggedIn = performance.now();

                this.#device = new KickoffDevice({
                        url, device: id, cohort, platform, since: this.#token, storage: this.#storage,
                        clock: { mono: () => performance.now(), wall: () => Date.now() + (errorMs || 0) },
                        onState: (state, why) => this.#onState(state, why),
                        onReset: ({ events }) => {
                                this.#states = new Map(events.map((state) => [state.event, state]));
                                this.#draw();
                        },
                        onSignal: (signal) => {
                                this.#states.set(signal.event, signal);
                                this.#draw();
                        },
                        onDue: (due) => this.#onDue(due),
                        onBundle: (bundle, from) => {
                                this.#bundles.set(bundle.event, bundle);
                                if (from === 'network')
                                        this.fetches.push({ event: bundle.event, at: bystander() });
                                this.#draw();
                        },
                });
                this.#find('.plug').textContent = 'Cut off';
        }

        unplug() {
                const device = this.#device;

                this.#device = null;
                this.#token = device.token;
                device.close();
                this.#onState('off', 'cut off');
                this.#find('.plug').textContent = 'Plug in';
        }

        quit() {
                if (this.#device !== null)
                        this.unplug();
                this.#element.remove();
        }

        #onState(state, why) {
                if (this.#device === null && state !== 'off')
                        return; /* the goodbye of a device that was unplugged */
                this.link = state;
                this.#element.dataset.link = state;
                this.#text('.state', state === 'connected' ? (this.#device.via === 'sse' ? 'by event stream' : 'connected')
                        : state === 'connecting' ? 'connecting …' : why);
                this.#find('.state').title = why;
                this.#onChange();
        }

        /* The glass first, the measuring after it. */
        #onDue({ event, stage, at, late, seq }) {
                this.#shown.set(event, stage);
                this.#draw();
                if (seq === 0 || stage === 'scheduled' || performance.now() - late < this.#pluggedIn)
                        return; /* where it came in, a new plan, or of a time when it was cut off: not a switch */

                const when = bystander();

                this.switches.push({ event, stage, at, when });
                if (event === this.#event) {
                        const skew = this.#find('.skew');

                        skew.textContent = `${signed(late)} ms`;
                        skew.dataset.look = Math.abs(late) <= 50 ? 'good' : 'bad';
                        this.#flash();
                }
                this.#onChange();
        }

        /* After the switch, not with it: painting it would hold up the screens that are due a millisecond later. */
        #flash() {
                clearTimeout(this.#flashing);
                this.#flashing = setTimeout(() => {
                        this.#element.classList.add('flash');
                        this.#flashing = setTimeout(() => this.#element.classList.remove('flash'), 800);
                }, 150);
        }

        /* Which event is on the glass. */
        show(event) {
                this.#event = event;
                this.#draw();
        }

        /* Ten times a second: what time alone changes. */
        tick() {
                const state = this.#states.get(this.#event);
                let left = 0;

                if (this.#device !== null && this.#device.clockOffset !== 0)
                        this.#text('.found', `${signed(-this.#device.clockOffset / 1000, 2)} s`);
                if (state !== undefined && this.#device !== null && this.#shown.get(this.#event) !== state.stage)
                        left = Math.min(Math.max((state.at - this.#device.now()) / 2000, 0), 1);
                this.#find('.countdown').style.setProperty('--left', `${(left * 100).toFixed(1)}%`);
        }

        #draw() {
                const state = this.#states.get(this.#event);
                const bundle = this.#bundles.get(this.#event);
                const stage = this.#shown.get(this.#event) || (state === undefined ? '' : 'scheduled');
                const content = contentOf(bundle, stage);

                this.#element.dataset.stage = stage;
                this.#text('.stage-badge', STAGE_WORDS[stage] || stage);
                this.#text('.title', content.title);
                this.#text('.glass .headline', state === undefined ? 'No event' : content.headline);
                this.#find('.items').replaceChildren(...content.items.map((text) => {
                        const item = document.createElement('li');
                        const words = document.createElement('span');

                        words.textContent = text;
                        item.append(words);
                        return item;
                }));
                this.#onChange();
        }
}

/* The bundles of deploy/sample look like this; of others only that they are there is shown. */
function contentOf(bundle, stage) {
        if (bundle === undefined)
                return { title: '', headline: 'Waiting for its moment to fetch', items: [] };
        try {
                const { title, stages } = bundle.json();
                const { headline, items } = stages[stage] || stages.scheduled;

                return { title: String(title), headline: String(headline), items: items.slice(0, 3).map(String) };
        } catch {
                return { title: `${bundle.body.length} bytes, ${bundle.type}`, headline: `Bundle ${bundle.bundle}`, items: [] };
        }
}
