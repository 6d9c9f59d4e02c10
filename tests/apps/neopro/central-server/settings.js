'use strict';
const { Pool } = require('pg');

const need = (name) => {
  if (!process.env[name]) throw new Error(`${name} manquante`);
  return process.env[name];
};

// `pgbouncer=true` is a word for other clients; this one takes its options from the URL alone.
const url = new URL(need('DATABASE_URL'));
url.searchParams.delete('pgbouncer');

module.exports = {
  need,
  pool: new Pool({ connectionString: url.toString(), max: 5, connectionTimeoutMillis: 3000 }),
  redis: new URL(need('REDIS_URL')),
  origins: (process.env.ALLOWED_ORIGINS || '').split(',').filter(Boolean),
  version: require('./package.json').version,
};
