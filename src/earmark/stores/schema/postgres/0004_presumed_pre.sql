-- What is presumed is rare, and asked for at every look at health: found without reading the rest.
-- Programs of the step before do not mind.

CREATE INDEX reservation_presumed ON {schema}.reservation (opened) WHERE state = 'presumed';
