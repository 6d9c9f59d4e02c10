CREATE TABLE analytics (site bigint REFERENCES sites, at timestamptz NOT NULL DEFAULT now(), event text NOT NULL);
