// A Node.js application that speaks HTTP/1.1 and is reached by HTTPS. Usage: node secure.js NAME PORT
//
// It prints its port, serves a page that tries what a browser can do, keeps what that page reports, echoes WebSocket messages, and
// answers like a gRPC server: status and messages in trailers.
'use strict';

const http = require('node:http');
const fs = require('node:fs');
const path = require('node:path');
const { WebSocketServer } = require('ws');

const [name, port] = process.argv.slice(2);
let reported = '';

async function whole(request) {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    return Buffer.concat(pieces);
}

// One message of gRPC: not compressed, its length, its bytes.
function message(bytes) {
    const head = Buffer.alloc(5);
    head.writeUInt32BE(bytes.length, 1);
    return Buffer.concat([head, Buffer.from(bytes)]);
}

async function remoteCall(request, response) {
    response.setHeader('Content-Type', 'application/grpc');
    if (request.url === '/test.Echo/Nothing') {
        // The status alone, without a message: gRPC calls it Trailers-Only, and it is in the head.
        response.setHeader('grpc-status', '12');
        response.end();
        return;
    }
    response.setHeader('Trailer', 'grpc-status, grpc-message, x-request-trailer');
    response.flushHeaders();
    const asked = (await whole(request)).subarray(5);
    const many = request.url === '/test.Echo/Many' ? 3 : 1;
    if (request.url === '/test.Echo/Fail') {
        response.addTrailers({ 'grpc-status': '5', 'grpc-message': 'no such thing' });
    } else {
        for (let count = 0; count < many; count += 1) response.write(message(`${name}: ${asked}`));
        const trailer = request.trailers['x-checksum'] ?? 'none';
        response.addTrailers({ 'grpc-status': '0', 'grpc-message': 'fine', 'x-request-trailer': trailer });
    }
    response.end();
}

const server = http.createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://backend');
    if (pathname.startsWith('/test.Echo/')) {
        await remoteCall(request, response);
    } else if (pathname === '/page') {
        response.setHeader('Content-Type', 'text/html');
        response.end(fs.readFileSync(path.join(__dirname, '../clients/page.html')));
    } else if (pathname === '/events') {
        response.writeHead(200, { 'Content-Type': 'text/event-stream' });
        for (const number of [1, 2, 3]) response.write(`data: event ${number}\n\n`);
        request.on('close', () => response.end());
    } else if (pathname === '/report') {
        reported = String(await whole(request));
        response.end('noted');
    } else if (pathname === '/reported') {
        response.end(reported);
    } else if (pathname === '/echo') {
        response.end(await whole(request));
    } else if (pathname === '/scheme') {
        response.end(request.headers['x-forwarded-proto']);
    } else {
        response.end(name);
    }
});

const sockets = new WebSocketServer({ server });
sockets.on('connection', (socket) => socket.on('message', (text) => socket.send(`${name}: ${text}`)));
server.listen(Number(port), '127.0.0.1', () => console.log(server.address().port));
// The test has ended, however it did.
process.stdin.on('end', () => process.exit(0)).resume();
