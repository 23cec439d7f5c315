/* device/js/socket.js -- a WebSocket as a link: the browser's, or one with the same interface that the app gives. Its
 * oddities end here. What decides is core.js.
 *
 * A link is made by open(place, on), where `on` has opened(), message(text), heard(), garbage(why), failed(why),
 * refused(status, retryAfter), closed(code, why), none of them called before open() has returned, nor after an end
 * (failed, refused, closed) or a call of close() or cut(). It has send(text), close(code), cut(). */
import { MESSAGE_MAX_BYTES } from './message.js';

export const SUBPROTOCOL = 'kickoff.v1.json';

export function openSocket({ url, WebSocket }, on) {
        let socket;
        let isOpen = false;
        let isOver = false;

        try {
                socket = new WebSocket(url, [SUBPROTOCOL]);
        } catch (error) { /* mixed content, or a URL that this browser will not have */
                Promise.resolve().then(() => isOver || on.failed(error.message));
                return { send() {}, close() { isOver = true; }, cut() { isOver = true; } };
        }
        socket.binaryType = 'arraybuffer';
        socket.onopen = () => {
                isOpen = true;
                if (!isOver)
                        on.opened();
        };
        socket.onmessage = ({ data }) => {
                if (isOver)
                        return;
                if (typeof data !== 'string')
                        on.garbage('a binary frame');
                else if (data.length > MESSAGE_MAX_BYTES)
                        on.garbage('a message that is too large');
                else
                        on.message(data);
        };
        socket.onclose = ({ code, reason }) => {
                if (isOver)
                        return;
                isOver = true;
                if (isOpen)
                        on.closed(code === 1005 || code === 1006 ? 0 : code, reason);
                else /* browsers do not say why, lest a page look around in a network */
                        on.failed('the WebSocket did not come up');
        };
        socket.onerror = () => {}; /* a close follows */

        const quit = (code) => {
                isOver = true;
                /* Pages may say 1000 and 3000 to 4999 only (WHATWG WebSockets, close()). */
                try {
                        socket.close(code === 1000 ? 1000 : 3000 + code);
                } catch {
                        socket.close();
                }
        };

        return {
                send: (text) => {
                        if (socket.readyState === 1)
                                socket.send(text);
                },
                close: quit,
                /* There is no way to drop a connection without a word from a page; not waiting for an answer is next to it. */
                cut: () => (typeof socket.terminate === 'function' ? (isOver = true, socket.terminate()) : quit(1000)),
        };
}
