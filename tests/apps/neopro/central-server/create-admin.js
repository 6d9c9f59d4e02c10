'use strict';
// npm run create-admin: e-mail, password and full name, a line each on standard input.
const { randomBytes, scryptSync } = require('crypto');
const readline = require('readline');
const { pool } = require('./settings');

const main = async () => {
  const lines = [];
  const answers = readline.createInterface({ input: process.stdin, terminal: false })[Symbol.asyncIterator]();
  for (const question of ['E-mail: ', 'Mot de passe (8 caractères au moins): ', 'Nom complet: ']) {
    process.stdout.write(question);
    const { value } = await answers.next();
    lines.push((value || '').trim());
  }
  const [email, password, name] = lines;
  if (!email.includes('@') || password.length < 8 || !name) throw new Error('e-mail, mot de passe ou nom invalide');
  const salt = randomBytes(16);
  const hash = `scrypt:${salt.toString('hex')}:${scryptSync(password, salt, 32).toString('hex')}`;
  await pool.query("INSERT INTO users (email, password_hash, full_name, role) VALUES ($1, $2, $3, 'admin')", [email, hash, name]);
  console.log(`\nadministrateur ${email} créé`);
};

main().then(() => pool.end(), (error) => {
  console.error(error.message);
  process.exit(1);
});
