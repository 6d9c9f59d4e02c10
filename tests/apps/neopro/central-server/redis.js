'use strict';
const net = require('net');
const tls = require('tls');

const command = (...words) => `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`;

/** Logs in and asks PING; resolves when Redis answered PONG. */
exports.ping = (url) => new Promise((resolve, reject) => {
  const where = { host: url.hostname, port: Number(url.port) || 6379, servername: url.hostname };
  const socket = url.protocol === 'rediss:' ? tls.connect(where) : net.connect(where);
  let answer = '';
  socket.setTimeout(3000, () => socket.destroy(new Error('no answer')));
  socket.on('error', reject);
  socket.on('data', (data) => {
    answer += data;
    if (answer.includes('+PONG')) { socket.destroy(); resolve(); }
    if (answer.startsWith('-')) socket.destroy(new Error(answer.split('\r\n')[0]));
  });
  if (url.password) {
    const words = url.username ? [url.username, url.password] : [url.password];
    socket.write(command('AUTH', ...words.map(decodeURIComponent)));
  }
  socket.write(command('PING'));
});
