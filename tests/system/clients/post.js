const dgram = require('dgram');
async function sendUDPMessage(port, message) {
return new Promise(resolve => {
const client = dgram.createSocket('udp4');
client.send(message, port, 'localhost', (err) => {
client.close();
resolve(err)
});
})
}
