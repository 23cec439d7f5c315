/* device/js/sha256.js -- SHA-256 (FIPS 180-4, section 6.2) in plain JavaScript, for pages without
 * crypto.subtle: browsers keep that from insecure origins, and a TV may well live on one. Where it is there, it does
 * the work. */

const PRIMES = (() => {
        const primes = [];

        for (let n = 2; primes.length < 64; n++)
                if (primes.every((prime) => n % prime !== 0))
                        primes.push(n);
        return primes;
})();
const fraction = (x) => Math.floor((x - Math.floor(x)) * 0x100000000) | 0;
const START = PRIMES.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)));
const ROUND = PRIMES.map((prime) => fraction(Math.cbrt(prime)));

const turn = (x, by) => (x >>> by) | (x << (32 - by));

function compress(hash, view, at, w) {
        let [a, b, c, d, e, f, g, h] = hash;

        for (let i = 0; i < 16; i++)
                w[i] = view.getInt32(at + 4 * i);
        for (let i = 16; i < 64; i++) {
                const x = w[i - 15];
                const y = w[i - 2];

                w[i] = w[i - 16] + w[i - 7] + (turn(x, 7) ^ turn(x, 18) ^ (x >>> 3)) +
                        (turn(y, 17) ^ turn(y, 19) ^ (y >>> 10));
        }
        for (let i = 0; i < 64; i++) {
                const t1 = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + ROUND[i] + w[i]) | 0;
                const t2 = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;

                h = g;
                g = f;
                f = e;
                e = (d + t1) | 0;
                d = c;
                c = b;
                b = a;
                a = (t1 + t2) | 0;
        }
        [a, b, c, d, e, f, g, h].forEach((word, i) => {
                hash[i] = (hash[i] + word) | 0;
        });
}

/** 64 hex digits of a Uint8Array, at once. */
export function sha256Plain(bytes) {
        const whole = bytes.length - (bytes.length % 64);
        const tail = new Uint8Array(bytes.length - whole < 56 ? 64 : 128);
        const hash = Int32Array.from(START);
        const w = new Int32Array(64);

        tail.set(bytes.subarray(whole));
        tail[bytes.length - whole] = 0x80;

        const end = new DataView(tail.buffer);
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

        end.setUint32(tail.length - 8, Math.floor(bytes.length / 0x20000000));
        end.setUint32(tail.length - 4, (bytes.length << 3) >>> 0);
        for (let at = 0; at < whole; at += 64)
                compress(hash, view, at, w);
        for (let at = 0; at < tail.length; at += 64)
                compress(hash, end, at, w);
        return Array.from(hash, (word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
}

/** 64 hex digits of a Uint8Array. */
export async function sha256(bytes) {
        const subtle = globalThis.crypto && globalThis.crypto.subtle;

        if (!subtle)
                return sha256Plain(bytes);

        const digest = new Uint8Array(await subtle.digest('SHA-256', bytes));

        return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
