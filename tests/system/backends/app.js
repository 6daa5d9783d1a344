// A Node.js application on its own port. Usage: node app.js NAME PORT [FOLDER]
//
// It prints its port, tells its name to whoever asks, hashes what is uploaded, serves files of FOLDER, and streams events
// one at a time: each is sent only when somebody posted to /next. /drip takes its time.
'use strict';

const { createHash } = require('node:crypto');
const { createReadStream } = require('node:fs');
const http = require('node:http');
const path = require('node:path');

const [name, port, folder] = process.argv.slice(2);
const readers = new Set();
let event = 0;

const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://backend');
    if (pathname === '/upload') {
        const hash = createHash('sha256');
        request.on('data', (piece) => hash.update(piece));
        request.on('end', () => response.end(hash.digest('hex')));
    } else if (pathname.startsWith('/file/')) {
        createReadStream(path.join(folder, path.basename(pathname))).pipe(response);
    } else if (pathname === '/events') {
        response.writeHead(200, { 'Content-Type': 'text/event-stream' });
        response.write(': open\n\n');
        readers.add(response);
        request.on('close', () => readers.delete(response));
    } else if (pathname === '/next') {
        event += 1;
        for (const reader of readers) reader.write(`data: event ${event}\n\n`);
        response.end(`event ${event}`);
    } else if (pathname === '/drip') {
        let left = 8;
        const drip = () => {
            response.write('drop ');
            left -= 1;
            if (left > 0) setTimeout(drip, 20);
            else response.end();
        };
        drip();
    } else if (pathname === '/slow') {
        // Answers when somebody asks for /release: a request in flight for as long as the test wants it.
        response.writeHead(200, { 'Content-Type': 'text/plain' });
        response.write('begun ');
        server.once('release', () => response.end('finished'));
    } else if (pathname === '/release') {
        server.emit('release');
        response.end('released');
    } else if (pathname === '/headers') {
        response.setHeader('Content-Type', 'application/json');
        response.end(JSON.stringify(request.headers));
    } else {
        response.end(name);
    }
});

server.listen(Number(port), '127.0.0.1', () => console.log(server.address().port));
// As an application in production does it: finish what was begun, take nothing new.
process.on('SIGTERM', () => server.close(() => process.exit(0)));
// The test has ended, however it did.
process.stdin.on('end', () => process.exit(0)).resume();
