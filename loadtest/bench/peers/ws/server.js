// loadtest/bench/peers/ws/server.js -- a broadcast server as the documentation of ws shows one: an HTTP
// server, the WebSocketServer on it, and a loop over its clients. Compression is off, as is the default.
//
//   node server.js PORT GREETING_BYTES
//
// Each device gets one text message of GREETING_BYTES when it is in; POST /publish sends its body to all.
'use strict';
const http = require('node:http');
const { WebSocket, WebSocketServer } = require('ws');

const port = Number(process.argv[2]);
const greeting = 'x'.repeat(Number(process.argv[3]));
const server = http.createServer();
const wss = new WebSocketServer({ server });

wss.on('connection', (socket) => {
        socket.on('error', () => {}); // a device that goes away in the middle is no news
        socket.send(greeting);
});

// The Buffer as it came: a string would be encoded again for each device.
function broadcast(message) {
        for (const socket of wss.clients)
                if (socket.readyState === WebSocket.OPEN)
                        socket.send(message, { binary: false });
}

server.on('request', (request, response) => {
        const parts = [];

        if (request.method !== 'POST' || request.url !== '/publish') {
                response.writeHead(404).end();
                return;
        }
        request.on('data', (part) => parts.push(part));
        request.on('end', () => {
                response.writeHead(204).end();
                broadcast(Buffer.concat(parts));
        });
});
server.listen({ port, host: '127.0.0.1', backlog: 4096 });
