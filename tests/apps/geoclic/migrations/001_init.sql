-- Citizens' requests: a pothole, a lamp that is out.
CREATE TABLE demandes (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    titre       text NOT NULL CHECK (titre <> ''),
    description text NOT NULL DEFAULT '',
    categorie   text NOT NULL DEFAULT 'autre',
    statut      text NOT NULL DEFAULT 'nouvelle' CHECK (statut IN ('nouvelle', 'en cours', 'close')),
    creee_le    timestamptz NOT NULL DEFAULT now()
);
