ALTER TABLE users
    ADD COLUMN mfa_enabled boolean DEFAULT false,
    ADD COLUMN mfa_secret text,
    ADD COLUMN mfa_backup_codes text[],
    ADD COLUMN mfa_verified_at timestamptz;
CREATE INDEX idx_users_mfa_enabled ON users (mfa_enabled) WHERE mfa_enabled;
