'use strict';
// The sites of a client: listed, added, counted; says honestly how it is.
const http = require('http');
const { need, origins, pool, redis, version } = require('./settings');
const { ping } = require('./redis');

['SUPABASE_URL', 'SUPABASE_SERVICE_KEY', 'JWT_SECRET'].forEach(need);
if (need('MFA_ENCRYPTION_KEY').length !== 32) throw new Error('MFA_ENCRYPTION_KEY: 32 caractères attendus');
let stopping = false;

const send = (response, status, body) => {
  response.writeHead(status, { 'Content-Type': 'application/json', ...(stopping && { Connection: 'close' }) });
  response.end(JSON.stringify(body));
};

const parts = async () => {
  const said = async (work) => work.then(() => 'ok', (error) => `down: ${error.code || 'error'}`);
  return { database: await said(pool.query('SELECT 1 FROM sites LIMIT 1')), redis: await said(ping(redis)) };
};

const body = async (request) => {
  let text = '';
  for await (const chunk of request) {
    text += chunk;
    if (text.length > 10_000) throw Object.assign(new Error('too long'), { status: 413 });
  }
  try {
    return JSON.parse(text);
  } catch {
    throw Object.assign(new Error('no JSON'), { status: 400 });
  }
};

const routes = {
  'GET /live': async () => [200, { status: 'alive' }],
  'GET /ready': async () => {
    const found = await parts();
    const ready = Object.values(found).every((value) => value === 'ok');
    return [ready ? 200 : 503, { status: ready ? 'ready' : 'not ready', ...found }];
  },
  'GET /health': async () => {
    const found = await parts();
    const healthy = Object.values(found).every((value) => value === 'ok');
    return [healthy ? 200 : 503, { status: healthy ? 'healthy' : 'degraded', timestamp: new Date().toISOString(), version, ...found }];
  },
  'GET /api-docs': async () => [200, { openapi: '3.0.0', info: { title: 'NeoPro', version } }],
  'GET /api/sites': async () => [200, (await pool.query('SELECT id, name FROM sites ORDER BY id')).rows],
  'POST /api/sites': async (request) => {
    const { name } = await body(request);
    if (typeof name !== 'string' || !name) return [400, { error: 'name' }];
    return [201, (await pool.query('INSERT INTO sites (name) VALUES ($1) RETURNING id, name', [name])).rows[0]];
  },
};

const server = http.createServer(async (request, response) => {
  const { origin } = request.headers;
  if (origin && origins.includes(origin)) response.setHeader('Access-Control-Allow-Origin', origin);
  const route = routes[`${request.method} ${request.url.split('?')[0]}`];
  try {
    send(response, ...(route ? await route(request) : [404, { error: 'not found' }]));
  } catch (error) {
    if (!error.status) console.error(error.message);
    send(response, error.status || 500, { error: error.status ? error.message : 'internal error' });
  }
});

server.listen(Number(process.env.PORT || 3001), () => console.log(`NeoPro central server ${version}`));
// Requests under way are finished before the end; stop_grace_period must be longer than they take.
process.on('SIGTERM', () => {
  stopping = true;
  server.close(() => pool.end().then(() => process.exit(0)));
  server.closeIdleConnections();
});
pool.on('error', (error) => console.error(error.message));
