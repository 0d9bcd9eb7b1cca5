-- A schema with as many kinds of objects as a database's owner can make, for dumps to be compared.
CREATE EXTENSION pg_trgm;
CREATE SCHEMA shop;
COMMENT ON SCHEMA shop IS 'It''s a "shop"; with $$ and \ in it';
CREATE SCHEMA "Odd Schema; DROP TABLE x";
CREATE TYPE shop.mood AS ENUM ('sad', 'ok', 'it''s "fine"');
CREATE TYPE shop.place AS (street text, number int, at point);
CREATE DOMAIN shop.positive AS numeric(12, 3) DEFAULT 1 CHECK (VALUE > 0) NOT NULL;
CREATE TYPE shop.span AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE COLLATION shop.german (provider = icu, locale = 'de-u-co-phonebk');
CREATE SEQUENCE shop.numbers AS bigint INCREMENT BY 3 MINVALUE 7 MAXVALUE 9999999 START WITH 10 CACHE 5 CYCLE;
SELECT setval('shop.numbers', 22);
CREATE FUNCTION shop.add(a int, b int DEFAULT 2, VARIADIC more int[] DEFAULT '{}') RETURNS int LANGUAGE sql IMMUTABLE
  PARALLEL SAFE COST 5 AS 'SELECT a + b';
CREATE FUNCTION shop.body(a int) RETURNS int LANGUAGE sql RETURN a * 2;
CREATE FUNCTION shop.block(a int) RETURNS TABLE (x int, y text) LANGUAGE plpgsql STABLE SECURITY DEFINER
  SET work_mem = '8MB' AS $body$
DECLARE r record;
BEGIN
  FOR r IN SELECT generate_series(1, a) AS i LOOP x := r.i; y := $q$it's $ $q$ || r.i; RETURN NEXT; END LOOP;
END $body$;
CREATE PROCEDURE shop.nothing(INOUT a int) LANGUAGE plpgsql AS $$ BEGIN a := a + 1; END $$;
CREATE AGGREGATE shop.total (int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
CREATE OPERATOR shop.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq, COMMUTATOR = OPERATOR(shop.===));
CREATE CAST (shop.place AS text) WITH INOUT;
CREATE TEXT SEARCH CONFIGURATION shop.words (COPY = pg_catalog.english);
CREATE TABLE shop.everything (
  id bigint GENERATED ALWAYS AS IDENTITY (START WITH 5) PRIMARY KEY,
  small smallint, whole int DEFAULT shop.add(1), big bigint, real4 real, real8 double precision, money_ money,
  exact numeric, pos shop.positive, flag boolean, name varchar(40) COLLATE "C" NOT NULL, fixed char(7), body text,
  raw bytea, one date, two time, three timetz, four timestamp, five timestamptz(3), six interval day to second,
  uid uuid, net inet, range_ cidr, mac macaddr, bits bit(5), varbits bit varying(9), doc json, docb jsonb, x xml,
  arr int[], names text[][], feeling shop.mood, home shop.place, s shop.span, ints int4range, multi int4multirange,
  vec tsvector, q tsquery, pt point, bx box, pg polygon, ci circle, ln line, sg lseg, lsn pg_lsn, o oid, rc regclass,
  doubled numeric GENERATED ALWAYS AS (exact * 2) STORED,
  CONSTRAINT sane CHECK (small IS NULL OR small < 1000), UNIQUE NULLS NOT DISTINCT (uid), EXCLUDE USING gist (ints WITH &&)
);
INSERT INTO shop.everything (small, big, real4, real8, money_, exact, pos, flag, name, fixed, body, raw, one, two, three,
  four, five, six, uid, net, range_, mac, bits, varbits, doc, docb, x, arr, names, feeling, home, s, ints, multi, vec, q,
  pt, bx, pg, ci, ln, sg, lsn, o, rc)
SELECT i % 100, i * 10000000000, i / 3.0, 'NaN', i::numeric::money, i / 7.0, i, i % 2 = 0, 'name' || i, 'f' || i,
  E'line\n\ttab \\ back ''quote'' "double" \\. ' || chr(8364) || repeat('x', i * 3), decode(md5(i::text), 'hex'),
  date '2024-02-29' + i, '12:34:56.789', '01:02:03+04:30', '2020-01-01'::timestamp + i * interval '1 hour',
  'infinity', i * interval '90 minutes', md5(i::text)::uuid, '10.1.2.3/8', '192.168.0.0/16', '08:00:2b:01:02:03',
  i::bit(5), B'1011', '{"a" :  [1, null]}', '{"b": {"c": 1.50}}', '<a b="c">&amp;</a>', ARRAY[i, NULL, 3],
  ARRAY[ARRAY['a,b', '{c}'], ARRAY['"', '\']], 'it''s "fine"', ROW('Main, "St"', i, point(1, 2))::shop.place, '[1.5,2.5)',
  int4range(i * 10, i * 10 + 5), '{[1,3),[5,7)}', to_tsvector('the quick fox'), 'quick & !fox', '(1,2)', '((0,0),(1,1))',
  '((0,0),(1,1),(2,0))', '<(0,0),5>', '{1,2,3}', '[(0,0),(1,1)]', '16/B374D848', 42, 'pg_class'
FROM generate_series(1, 300) i;
INSERT INTO shop.everything (name, pos, uid) VALUES ('\N', 1, md5('n')::uuid), ('', 2, NULL);
CREATE TABLE shop.child (extra text) INHERITS (shop.everything);
ALTER TABLE shop.everything ALTER body SET STORAGE EXTERNAL, ALTER name SET STATISTICS 500;
CREATE TABLE shop.parts (id int, at date NOT NULL, note text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE shop.parts_a PARTITION OF shop.parts FOR VALUES FROM (MINVALUE) TO ('2024-01-01');
CREATE TABLE shop.parts_b PARTITION OF shop.parts FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')
  PARTITION BY HASH (id);
CREATE TABLE shop.parts_b0 PARTITION OF shop.parts_b FOR VALUES WITH (MODULUS 2, REMAINDER 0) WITH (fillfactor = 70);
CREATE TABLE shop.parts_b1 PARTITION OF shop.parts_b FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE shop.parts_rest PARTITION OF shop.parts DEFAULT;
INSERT INTO shop.parts SELECT i, date '2023-06-01' + i * 3, 'note ' || i FROM generate_series(1, 300) i;
CREATE TABLE "Odd Schema; DROP TABLE x"."T""able" (
  "select" int REFERENCES shop.everything ON DELETE CASCADE ON UPDATE SET NULL DEFERRABLE INITIALLY DEFERRED,
  "Ünï cödé" text, dropped int, part_id int, part_at date, FOREIGN KEY (part_id, part_at) REFERENCES shop.parts
);
ALTER TABLE "Odd Schema; DROP TABLE x"."T""able" DROP COLUMN dropped;
INSERT INTO "Odd Schema; DROP TABLE x"."T""able" SELECT 5 + i, 'ä' || i FROM generate_series(0, 99) i;
CREATE UNLOGGED TABLE shop.fleeting AS SELECT 1 AS a;
CREATE TABLE shop.many AS SELECT i, md5(i::text) AS m, repeat(md5(i::text), 20) AS wide FROM generate_series(1, 20000) i;
CREATE INDEX ON shop.many (m);
CREATE UNIQUE INDEX partial ON shop.everything (lower(name), (docb -> 'b') DESC NULLS LAST) INCLUDE (big)
  WHERE flag AND small > 3;
CREATE INDEX ON shop.everything USING gin (docb jsonb_path_ops);
CREATE INDEX ON shop.everything USING gin (body gin_trgm_ops);
CREATE INDEX ON shop.everything USING brin (five) WITH (pages_per_range = 32);
CREATE INDEX ON shop.everything USING hash (uid);
CREATE INDEX ON shop.everything USING spgist (pt);
CREATE INDEX ON shop.parts (note);
CLUSTER shop.many USING many_m_idx;
CREATE STATISTICS shop.stats (ndistinct, dependencies, mcv) ON small, flag FROM shop.everything;
CREATE VIEW shop.seen (a, b) WITH (security_barrier) AS
  WITH x AS (SELECT id, name FROM shop.everything WHERE flag) SELECT id, upper(name) FROM x;
CREATE VIEW shop.checked AS SELECT i, m FROM shop.many WHERE i > 0 WITH LOCAL CHECK OPTION;
CREATE OR REPLACE VIEW shop.over AS SELECT a, count(*) OVER (PARTITION BY b ORDER BY a ROWS 2 PRECEDING) FROM shop.seen;
CREATE RECURSIVE VIEW shop.counting (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counting WHERE n < 5;
CREATE MATERIALIZED VIEW shop.stored AS SELECT small, count(*), shop.total(whole) FROM shop.everything GROUP BY small;
CREATE UNIQUE INDEX ON shop.stored (small);
CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER before_row BEFORE INSERT OR UPDATE OF name ON shop.everything FOR EACH ROW
  WHEN (NEW.name <> 'x') EXECUTE FUNCTION shop.touch('a', 'it''s');
CREATE TRIGGER after_all AFTER DELETE ON shop.many REFERENCING OLD TABLE AS gone FOR EACH STATEMENT
  EXECUTE FUNCTION shop.touch();
CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON shop.many DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  EXECUTE FUNCTION shop.touch();
ALTER TABLE shop.many DISABLE TRIGGER after_all;
CREATE RULE redirected AS ON INSERT TO shop.seen DO INSTEAD NOTHING;
ALTER TABLE shop.many ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON shop.many AS RESTRICTIVE FOR UPDATE USING (i > 3) WITH CHECK (i < 100000);
CREATE POLICY everyone ON shop.many FOR SELECT USING (true);
GRANT USAGE ON SCHEMA shop TO PUBLIC;
GRANT SELECT (id, name), UPDATE (name) ON shop.everything TO PUBLIC;
GRANT EXECUTE ON FUNCTION shop.body(int) TO PUBLIC;
REVOKE ALL ON FUNCTION shop.add(int, int, int[]) FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO PUBLIC;
COMMENT ON TABLE shop.everything IS E'all of\nit; -- not a comment /* nor this */';
COMMENT ON COLUMN shop.everything.body IS '$$ dollar $$';
COMMENT ON FUNCTION shop.add(int, int, int[]) IS '\restrict';
COMMENT ON POLICY mine ON shop.many IS 'policy';
COMMENT ON INDEX shop.partial IS 'index';
ALTER SEQUENCE shop.numbers OWNED BY shop.many.i;
ALTER TABLE shop.many ALTER i SET DEFAULT nextval('shop.numbers'), REPLICA IDENTITY FULL, SET (autovacuum_enabled = off);
