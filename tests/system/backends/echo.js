// A WebSocket server of the npm package ws on its own port. Usage: node echo.js NAME PORT
//
// It prints its port and answers each text message with "NAME: message".
'use strict';

const { WebSocketServer } = require('ws');

const [name, port] = process.argv.slice(2);
const server = new WebSocketServer({ host: '127.0.0.1', port: Number(port) });
server.on('listening', () => console.log(server.address().port));
server.on('connection', (socket) => socket.on('message', (message) => socket.send(`${name}: ${message}`)));
process.stdin.on('end', () => process.exit(0)).resume();
