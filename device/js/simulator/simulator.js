/* device/js/simulator/simulator.js -- twelve screens in one page, or with ?only=N one of them, so that twelve pages can be
 * compared. Clocks are wrong on purpose; with ?skew=MS by that much, with ?skew=page no more than the page's own. The
 * page finds its node by asking the admin address that served it; ?node=ws://HOST:PORT names another.
 * What a test may look at is window.kickoffScreens. */
import { bystander, Screen } from './screen.js';

const COUNT = 12;
const WORST_MS = 5000; /* clocks are wrong by up to this, on purpose */
const COHORTS = ['default', 'family', 'sports'];
const PLATFORMS = ['tv', 'tv', 'web', 'phone'];
const LEAD = '2s';
const PLOT = { width: 640, height: 86, top: 6, bottom: 80 };
const BAND_MS = 25; /* what people call together */

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const only = Number(query.get('only')) || 0;
const visit = Array.from(crypto.getRandomValues(new Uint8Array(3)), (byte) => byte.toString(16).padStart(2, '0')).join('');

let screens = [];
let event = '';
let expected = null; /* an event that was just made, and that no screen has been told of yet */
let isDirty = true;

/* Evenly over the whole span, then shuffled, always alike: a demonstration should not depend on luck. */
function errorOf(i) {
        const asked = query.get('skew');

        if (asked === 'page')
                return null;
        return asked !== null ? Number(asked) || 0 : Math.round(((i * 5) % COUNT) * 2 * WORST_MS / (COUNT - 1) - WORST_MS);
}

function connect(url) {
        for (const screen of screens)
                screen.quit();
        screens = window.kickoffScreens = [];
        for (let i = 0; i < COUNT; i++) {
                if (only !== 0 && only !== i + 1)
                        continue;

                const element = $('screen').content.firstElementChild.cloneNode(true);

                screens.push(new Screen(element, {
                        url, id: `screen-${visit}-${i + 1}`, name: `Screen ${i + 1}`, cohort: COHORTS[i % COHORTS.length],
                        platform: PLATFORMS[i % PLATFORMS.length], errorMs: errorOf(i),
                }, () => { isDirty = true; })); /* throws when `url` is none */
                $('screens').append(element);
        }
}

/* --- the line above the screens --------------------------------------------------------------------------- */

/* The switches of one kind that happened together: the newest (event, stage, at). */
function lastSwitch() {
        const all = screens.flatMap((screen) => screen.switches.filter((one) => one.event === event));
        const newest = all.reduce((best, one) => (best === null || one.at > best.at ? one : best), null);

        return newest === null ? [] : all.filter((one) => one.stage === newest.stage && one.at === newest.at);
}

function svg(name, attributes) {
        const element = document.createElementNS('http://www.w3.org/2000/svg', name);

        for (const [key, value] of Object.entries(attributes))
                element.setAttribute(key, value);
        return element;
}

function plot(together) {
        const half = Math.max(50, ...together.map((one) => Math.abs(one.when - one.at))) * 1.1;
        const x = (ms) => PLOT.width / 2 * (1 + ms / half);

        $('plot').replaceChildren(
                svg('rect', { class: 'band', x: x(-BAND_MS), y: 0, width: x(BAND_MS) - x(-BAND_MS), height: PLOT.bottom }),
                svg('line', { class: 'rule', x1: 0, x2: PLOT.width, y1: PLOT.bottom, y2: PLOT.bottom }),
                svg('line', { class: 'zero', x1: x(0), x2: x(0), y1: 0, y2: PLOT.bottom }),
                ...together.map((one, i) => svg('line', {
                        class: 'tick', x1: x(one.when - one.at), x2: x(one.when - one.at),
                        y1: PLOT.top + (PLOT.bottom - PLOT.top) * i / COUNT,
                        y2: PLOT.top + (PLOT.bottom - PLOT.top) * (i + 0.7) / COUNT,
                })));
        $('axis').hidden = false;
        $('axis-from').textContent = `${Math.round(half)} ms before`;
        $('axis-to').textContent = `${Math.round(half)} ms after`;
}

function drawFigures() {
        const states = new Map(screens.flatMap((screen) => screen.states).map((state) => [state.event, state]));
        const of = (n) => `${n} / ${screens.length}`;
        const errors = screens.map((screen) => screen.errorMs);
        const together = lastSwitch();

        drawEvents([...states.keys()].sort());
        $('connected').textContent = of(screens.filter((screen) => screen.link === 'connected').length);
        $('holding').textContent = of(screens.filter((screen) => screen.holds(event)).length);
        $('apart').textContent = `${((Math.max(...errors) - Math.min(...errors)) / 1000).toFixed(1)} s`;
        if (together.length === 0)
                return;

        const whens = together.map((one) => one.when);
        const spread = Math.max(...whens) - Math.min(...whens);
        const at = together[0].at;

        $('spread').textContent = `${spread.toFixed(spread < 10 ? 1 : 0)} ms`;
        $('spread-what').textContent = `between the first and the last of ${together.length} screens that switched to “${together[0].stage}”.`;
        /* Who fetched between the announcement and the switch would be the herd that is not wanted. */
        $('fetched').textContent = String(screens.flatMap((screen) => screen.fetches)
                .filter((one) => one.event === event && one.at > at - 2000 && one.at < at + 1000).length);
        plot(together);
}

function drawEvents(names) {
        const select = $('event');

        if ([...select.options].map((option) => option.value).join() !== names.join())
                select.replaceChildren(...names.map((name) => new Option(name, name)));
        if (!names.includes(event) && event !== expected && names.length > 0)
                choose(names.includes(query.get('event')) ? query.get('event') : names[names.length - 1]);
        if (select.value !== event)
                select.value = event;
        for (const button of document.querySelectorAll('[data-do]:not(#prepare)'))
                button.disabled = names.length === 0;
}

function choose(name) {
        event = name;
        $('spread').textContent = '–';
        $('spread-what').textContent = 'Nothing has switched yet.';
        $('fetched').textContent = '–';
        $('plot').replaceChildren();
        $('axis').hidden = true;
        for (const screen of screens)
                screen.show(event);
        isDirty = true;
}

/* --- the producer ------------------------------------------------------------------------------------------ */

function say(text, look = '') {
        $('said').textContent = text;
        $('said').dataset.look = look;
}

async function ask(method, path, body, type = 'application/json') {
        const token = sessionStorage.getItem('kickoff-token'); /* the console's, if it was asked for one */
        const key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
        const headers = { 'Content-Type': type, 'Idempotency-Key': key };

        if (token)
                headers.Authorization = `Bearer ${token}`;

        const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
        const answer = await response.json().catch(() => ({}));

        if (!response.ok)
                throw new Error(response.status === 401 ? 'This node wants a token: sign in on the console first.'
                        : answer.detail || answer.title || `The node answered ${response.status}.`);
        return answer;
}

function demoBundle(id, cohort) {
        const words = {
                default: ['The Final', 'How the teams got here', 'The road to the final', 'Five finals to remember',
                        'Watch now', 'Follow the score', 'All camera angles'],
                family: ['The Final, together', 'The rules in two minutes', 'Meet the mascots', 'Make your own flag',
                        'Watch with the family', 'Quiz for everyone', 'Kids’ commentary'],
                sports: ['The Final, by the numbers', 'Line-ups and form', 'Every duel of the season', 'The referees',
                        'Watch with statistics', 'Tactics camera', 'Player tracking'],
        }[cohort];

        return {
                event: id, cohort, title: 'The Final',
                stages: {
                        scheduled: { headline: `Tonight: ${words[0]}`, items: words.slice(1, 4) },
                        live: { headline: `${words[0]}: we are live`, items: words.slice(4, 7) },
                        halftime: { headline: 'Half-time: the first half in three minutes', items: ['All goals', 'What the coaches say', 'The best save'] },
                        ended: { headline: 'That was The Final', items: ['The whole match', 'All goals', 'The cup ceremony'] },
                },
        };
}

const orders = {
        async prepare() {
                const id = `demo-${visit}-${Date.now() % 100000}`;
                const starts = new Date(Date.now() + 3600000).toISOString().replace(/\.\d+Z$/, 'Z');

                await ask('POST', '/v1/events', { id, title: 'The Final', starts_at: starts, stages: ['halftime'] });
                for (const cohort of COHORTS)
                        await ask('PUT', `/v1/events/${id}/bundles/${cohort}`, demoBundle(id, cohort));
                await ask('POST', `/v1/events/${id}/bundles`, { window: '3s' });
                expected = id;
                choose(id);
                return `${id} is there. The screens fetch its bundle, each at its own moment of three seconds.`;
        },
        async start() {
                await ask('POST', `/v1/events/${event}/start`, { lead: LEAD });
                return 'Start announced: all switch in two seconds.';
        },
        async stage() {
                await ask('POST', `/v1/events/${event}/stage`, { stage: 'halftime', lead: LEAD });
                return 'Half-time announced.';
        },
        async end() {
                await ask('POST', `/v1/events/${event}/end`);
                return 'Over. Who is told sooner switches sooner: an end is acted on at once.';
        },
};

async function order(name) {
        say('…');
        try {
                say(await orders[name]());
        } catch (error) {
                say(error.message, 'bad');
        }
}

/* Where devices connect: what the node that served this page says of itself, at the host that the page came from. */
async function findNode() {
        if (query.has('node'))
                return query.get('node');
        try {
                const { nodes } = await ask('GET', '/v1/nodes');
                const up = nodes.find((node) => node.listen && node.state === 'up') || nodes[0];
                const [, host, port] = /^(.*):(\d+)$/.exec(up.listen);
                const isAny = ['0.0.0.0', '[::]', '::', '*'].includes(host);

                return `ws://${isAny ? location.hostname : host}:${port}`;
        } catch {
                return `ws://${location.hostname || '127.0.0.1'}:8080`;
        }
}

function connectOrSay() {
        try {
                connect($('url').value.trim());
                choose(event);
        } catch (error) {
                say(error.message, 'bad');
        }
}

/* --- begin --------------------------------------------------------------------------------------------------- */

$('place').addEventListener('submit', (submit) => {
        submit.preventDefault();
        connectOrSay();
});
$('event').addEventListener('change', () => choose($('event').value));
for (const button of document.querySelectorAll('[data-do]'))
        button.addEventListener('click', () => order(button.dataset.do));
setInterval(() => {
        for (const screen of screens)
                screen.tick();
        if (isDirty) {
                isDirty = false;
                drawFigures();
        }
}, 100);
if (only !== 0)
        document.body.dataset.only = String(only);
window.kickoffNow = bystander;
$('url').value = await findNode();
connectOrSay();
