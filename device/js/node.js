/* device/js/node.js -- the SDK in Node: the same, with a WebSocket client of its own. Everything else is in
 * kickoff_device.js. */
import { openNodeSocket } from './node_socket.js';
import { useSocket } from './device.js';

useSocket(openNodeSocket);

export * from './kickoff_device.js';
