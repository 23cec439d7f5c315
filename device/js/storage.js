/* device/js/storage.js -- where bundles are kept over a restart of the app. A storage is any object with
 * get(key), set(key, record) and delete(key), at once or by promise; a record is {meta: {...}, body: Uint8Array}, meta
 * plain JSON. One that fails (full, forbidden, gone) costs a fetch, never the app: the SDK catches what they throw, and
 * compares what comes back with its hash as it does what comes from the network. */

/** Nothing is kept over a restart. */
export function memoryStorage() {
        const records = new Map();

        return {
                get: (key) => records.get(key),
                set: (key, record) => void records.set(key, record),
                delete: (key) => void records.delete(key),
        };
}

/** A few MB at most, in every browser and TV. */
export function localStorageStorage(prefix = 'kickoff:', area = globalThis.localStorage) {
        return {
                get(key) {
                        const text = area.getItem(prefix + key);

                        if (text === null)
                                return undefined;

                        const { meta, body } = JSON.parse(text);
                        const bytes = Uint8Array.from(atob(body), (char) => char.charCodeAt(0));

                        return { meta, body: bytes };
                },
                set(key, { meta, body }) {
                        let text = '';

                        for (let at = 0; at < body.length; at += 0x8000) /* apply() takes no more at once */
                                text += String.fromCharCode.apply(null, body.subarray(at, at + 0x8000));
                        area.setItem(prefix + key, JSON.stringify({ meta, body: btoa(text) }));
                },
                delete: (key) => area.removeItem(prefix + key),
        };
}

/** For large bundles. */
export function indexedDBStorage(name = 'kickoff', factory = globalThis.indexedDB) {
        const settled = (request) => new Promise((resolve, reject) => {
                request.onsuccess = () => resolve(request.result);
                request.onerror = () => reject(request.error);
        });
        let opened = null;
        const store = async (mode) => {
                if (opened === null) {
                        const request = factory.open(name, 1);

                        request.onupgradeneeded = () => request.result.createObjectStore('bundles');
                        opened = settled(request);
                        opened.catch(() => { opened = null; }); /* a later call may do better */
                }
                return (await opened).transaction('bundles', mode).objectStore('bundles');
        };

        return {
                get: async (key) => settled((await store('readonly')).get(key)),
                set: async (key, record) => settled((await store('readwrite')).put(record, key)),
                delete: async (key) => settled((await store('readwrite')).delete(key)),
        };
}
