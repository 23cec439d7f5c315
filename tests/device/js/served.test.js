/* What a page needs of the SDK is what nodes serve at /sdk, and what the browser's part imports is nothing of Node's. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';

const root = new URL('../../../', import.meta.url);
const read = (path) => readFileSync(new URL(path, root), 'utf8');
const listed = (name) => {
        const table = new RegExp(`#define ${name}\\(x\\)((?:.*\\\\\\n)*.*)`).exec(read('producer/routes_simulator.c'))[1];

        return [...table.matchAll(/x\("([^"]+)"/g)].map(([, file]) => file).sort();
};
const importsOf = (path) => [...read(path).matchAll(/^(?:import|export)[^;]*? from '([^']+)'/gm)].map(([, from]) => from);

test('every module that a page imports is served, and no other', () => {
        const needed = new Set(['kickoff_device.js']);

        for (const file of needed)
                for (const from of importsOf(`device/js/${file}`)) {
                        assert.match(from, /^\.\/\w+\.js$/, `${file} imports ${from}`);
                        needed.add(from.slice(2));
                }
        assert.deepEqual(listed('SDK_FILES'), [...needed].sort());
});

test('the simulator\'s files are served, and it has nothing inline or from elsewhere', () => {
        assert.deepEqual(listed('PAGE_FILES'), readdirSync(new URL('device/js/simulator/', root)).sort());

        const page = read('device/js/simulator/index.html');

        assert.doesNotMatch(page, /style=|<style|\son\w+=|<script(?![^>]*\ssrc=)/);
        for (const file of listed('PAGE_FILES'))
                assert.doesNotMatch(read(`device/js/simulator/${file}`).replace('http://www.w3.org/2000/svg', ''), /https?:\/\/[a-z]/, file);
        for (const from of importsOf('device/js/simulator/screen.js').concat(importsOf('device/js/simulator/simulator.js')))
                assert.match(from, /^(\.\/screen|\.\.\/sdk\/kickoff_device)\.js$/);
});

test('what the types promise is there', async () => {
        const types = read('device/js/kickoff_device.d.ts');
        const sdk = await import(new URL('device/js/kickoff_device.js', root));
        const body = /export class KickoffDevice \{([^]*?)\n\}/.exec(types)[1];
        const members = [...body.matchAll(/^ {8}(?:readonly )?(\w+)[(<:]/gm)].map(([, name]) => name).sort();

        assert.deepEqual(members, Object.getOwnPropertyNames(sdk.KickoffDevice.prototype).sort());
        assert.deepEqual([...types.matchAll(/^export (?:class|function) (\w+)/gm)].map(([, name]) => name).sort(),
                Object.keys(sdk).sort());
});
