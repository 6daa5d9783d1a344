// HTTPS by Node.js: both versions of HTTP, and trailers both ways. Usage: node secure.js ADDRESS PORT ROOT
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const http2 = require('node:http2');
const https = require('node:https');
const tls = require('node:tls');

const [address, port, root] = process.argv.slice(2);
const name = 'site.example';
const ca = fs.readFileSync(root);

async function text(stream) {
    let seen = '';
    for await (const piece of stream.setEncoding('utf8')) seen += piece;
    return seen;
}

function byVersion1(path, agent) {
    return new Promise((resolve, reject) => {
        const options = { host: address, port, servername: name, headers: { Host: name }, ca, agent, path };
        https.get(options, async (response) => {
            assert.ok(response.socket.authorized);
            resolve([response, await text(response)]);
        }).on('error', reject);
    });
}

async function call(session, path, trailers, more = {}) {
    const fields = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers', ...more };
    const stream = session.request(fields, { waitForTrailers: true });
    const seen = { trailers: {} };
    stream.on('response', (head) => { seen.head = head; });
    stream.on('trailers', (fields) => { seen.trailers = fields; });
    stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    stream.end(Buffer.from('\0\0\0\0\x05hello', 'latin1'));
    seen.body = await text(stream);
    return seen;
}

async function main() {
    const agent = new https.Agent({ keepAlive: true });
    for (let count = 0; count < 3; count += 1) {
        const [response, body] = await byVersion1('/', agent);
        assert.deepStrictEqual([response.httpVersion, response.statusCode, body], ['1.1', 200, 'the site']);
    }
    assert.strictEqual((await byVersion1('/scheme', agent))[1], 'https');
    agent.destroy();
    await assert.rejects(new Promise((resolve, reject) => {
        https.get({ host: address, port, servername: name, headers: { Host: name } }, resolve).on('error', reject);
    }), { code: 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY' });

    const createConnection = () => tls.connect({ host: address, port, servername: name, ca, ALPNProtocols: ['h2'] });
    const session = http2.connect(`https://${name}`, { createConnection });
    // An error of a session shows at its streams.
    session.on('error', () => {});
    const asked = Array.from({ length: 100 }, () => text(session.request({ ':path': '/' })));
    for (const body of await Promise.all(asked)) assert.strictEqual(body, 'the site');
    assert.strictEqual(session.alpnProtocol, 'h2');
    assert.strictEqual(await text(session.request({ ':path': '/scheme' })), 'https');

    const fine = await call(session, '/test.Echo/Say', { 'x-checksum': 'abc' }, { trailer: 'x-checksum' });
    assert.strictEqual(fine.head[':status'], 200);
    assert.strictEqual(fine.head['grpc-status'], undefined);
    assert.strictEqual(fine.body, '\0\0\0\0\x0fthe site: hello');
    assert.strictEqual(fine.trailers['grpc-status'], '0');
    assert.strictEqual(fine.trailers['grpc-message'], 'fine');
    assert.strictEqual(fine.trailers['x-request-trailer'], 'abc', 'the trailers of the request');
    const silent = await call(session, '/test.Echo/Say', { 'x-checksum': 'abc' });
    assert.strictEqual(silent.trailers['x-request-trailer'], 'none', 'HTTP/1.1 carries those that were announced');
    const failed = await call(session, '/test.Echo/Fail', {});
    assert.deepStrictEqual([failed.body, failed.trailers['grpc-status']], ['', '5']);
    const nothing = await call(session, '/test.Echo/Nothing', {});
    assert.deepStrictEqual([nothing.body, nothing.head['grpc-status']], ['', '12']);
    await new Promise((resolve) => { session.close(resolve); });
    console.log('ok');
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
