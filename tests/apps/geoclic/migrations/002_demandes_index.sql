CREATE INDEX demandes_par_date ON demandes (creee_le DESC);
CREATE INDEX demandes_par_statut ON demandes (statut) WHERE statut <> 'close';
