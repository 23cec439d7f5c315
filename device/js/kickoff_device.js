/* device/js/kickoff_device.js -- the public interface, described in kickoff_device.d.ts and README.md. */
export { KickoffDevice } from './device.js';
export { memoryStorage, localStorageStorage, indexedDBStorage } from './storage.js';
