/* device/js/place.js -- where a node is: what of its URL a device may choose, and what it asks for. Pure. */

const NAME = /^[A-Za-z0-9._:~-]+$/;

function checkName(what, value, limit) {
        if (typeof value !== 'string' || value.length > limit || !NAME.test(value))
                throw new TypeError(`${what} must be 1 to ${limit} characters of A-Z a-z 0-9 . _ : ~ -`);
        return value;
}

/** {ws, http}: the origins of both, from ws://, wss://, http:// or https:// without a path. */
export function parsePlace(text) {
        let url;

        try {
                url = new URL(text);
        } catch {
                throw new TypeError('url must be like ws://host:port');
        }

        const isTls = url.protocol === 'wss:' || url.protocol === 'https:';

        if ((!isTls && url.protocol !== 'ws:' && url.protocol !== 'http:') || url.pathname !== '/' ||
            url.search !== '' || url.hash !== '' || url.username !== '')
                throw new TypeError('url must be ws://, wss://, http:// or https:// and host[:port], without a path');
        return { ws: `${isTls ? 'wss' : 'ws'}://${url.host}`, http: `${isTls ? 'https' : 'http'}://${url.host}` };
}

/** The parameters that say who asks, as text. */
export function whoAsks({ device, cohort, platform, region, app, ack }) {
        const query = new URLSearchParams({ device: checkName('device', device, 128) });

        for (const [name, value] of Object.entries({ cohort, platform, region, app }))
                if (value !== undefined && value !== null)
                        query.set(name, checkName(name, value, 64));
        if (ack === false)
                query.set('ack', '0');
        return query.toString();
}
