/* tests/device/contract/js/driver.js -- the JavaScript SDK as a driver program of the contract table: ../README.md. */
import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';

import { KickoffDevice } from '../../../../device/js/node.js';

let device = null;
let skewMs = 0;

function print(line) {
        process.stdout.write(`${JSON.stringify(line)}\n`);
}

function fail(why) {
        process.stderr.write(`driver: ${why}\n`);
        process.exit(2);
}

const passOn = (t) => (message) => print({ event: t, message: { t, ...message } });

function connect(command) {
        skewMs = command.skew_ms || 0;

        const options = {
                ...command,
                backoffMinMs: command.backoff_min_ms,
                backoffMaxMs: command.backoff_max_ms,
                prefetch: command.prefetch === true,
                clock: { mono: () => performance.now(), wall: () => Date.now() + skewMs },
                onHello: passOn('hello'),
                onSignal: passOn('signal'),
                onReset: passOn('reset'),
                onMessage: passOn('message'),
                onGoaway: passOn('goaway'),
                onState: (state, why) => print({ event: 'state', state, why }),
                onBundle: (bundle, from) => print({
                        event: 'bundle', of: bundle.event, bundle: bundle.bundle, from, size: bundle.body.length,
                        hash: createHash('sha256').update(bundle.body).digest('hex'),
                }),
        };

        if (command.due === true)
                options.onDue = ({ seq, event, stage, at }) =>
                        print({ event: 'due', seq, of: event, stage, at, node_ms: device.now() });
        device = new KickoffDevice(options);
}

function act(command) {
        if (command.do === 'connect' && device === null)
                return connect(command);
        if (device === null)
                return fail(`nothing to ${command.do} yet`);
        switch (command.do) {
        case 'activated':
                return device.activated(command.seq);
        case 'cut':
                return device.cut();
        case 'ask':
                return print({ event: 'answer', id: command.id, token: device.token, state: device.state,
                        offset_ms: device.clockOffset });
        case 'close':
                device.close();
                device = null;
                return print({ event: 'closed' });
        default:
                return fail(`what is ${command.do}?`);
        }
}

print({ event: 'ready', sdk: 'js',
        can: ['attributes', 'skip', 'hand-over', 'prefetch', 'due', 'skew', 'sse'] });
createInterface({ input: process.stdin }).on('line', (line) => {
        let command;

        try {
                command = JSON.parse(line);
        } catch {
                return fail(`no JSON: ${line}`);
        }
        act(command);
}).on('close', () => {
        if (device !== null)
                device.close();
        setTimeout(() => process.exit(0), 200);
});
