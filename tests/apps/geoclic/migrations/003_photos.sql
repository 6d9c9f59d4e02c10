-- The pictures themselves are files in /data/photos; a backup holds both or neither.
CREATE TABLE photos (
    nom         text PRIMARY KEY,
    demande_id  uuid REFERENCES demandes (id) ON DELETE SET NULL,
    taille      bigint NOT NULL,
    sha256      text NOT NULL,
    creee_le    timestamptz NOT NULL DEFAULT now()
);
