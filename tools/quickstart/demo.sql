-- The demo database: made-up people, cards that no bank issued, keys that open nothing.
CREATE TABLE customers (
  id integer PRIMARY KEY,
  name text NOT NULL,
  email text NOT NULL,
  phone text,
  card_number text,
  city text
);
CREATE TABLE orders (
  id integer PRIMARY KEY,
  customer_id integer NOT NULL REFERENCES customers,
  item text NOT NULL,
  amount numeric(10, 2) NOT NULL,
  status text NOT NULL,
  placed_at timestamptz NOT NULL
);
CREATE TABLE api_keys (
  id integer PRIMARY KEY,
  service text NOT NULL,
  api_key text NOT NULL,
  created_at timestamptz NOT NULL
);
INSERT INTO customers VALUES
  (1, 'Ada Lindqvist', 'ada.lindqvist@example.com', '+46 8 555 0101', '4111111111111111', 'Stockholm'),
  (2, 'Bilal Haddad', 'bilal@example.org', '+49 30 555 0102', '5555555555554444', 'Berlin'),
  (3, 'Chiara Rossi', 'chiara.rossi@example.net', '+39 06 555 0103', '378282246310005', 'Roma'),
  (4, 'Deniz Aydin', 'deniz@example.com', '+90 212 555 0104', '6011111111111117', 'Istanbul'),
  (5, 'Emeka Obi', 'emeka.obi@example.org', '+234 1 555 0105', '4012888888881881', 'Lagos');
INSERT INTO orders
SELECT n, 1 + n % 5, (ARRAY['keyboard', 'monitor', 'desk lamp', 'notebook', 'headset'])[1 + n % 5],
       round((17 + n * 13.37 % 400)::numeric, 2), (ARRAY['paid', 'shipped', 'returned'])[1 + n % 3],
       timestamptz '2026-09-01 08:00Z' + n * interval '7 hours'
FROM generate_series(1, 240) AS n;
INSERT INTO api_keys VALUES
  (1, 'billing', 'wk_live_51NqExampleExampleExample00', '2026-03-01'),
  (2, 'shipping', 'wk_live_77RtExampleExampleExample01', '2026-05-12');
GRANT USAGE ON SCHEMA public TO wicketgate;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO wicketgate;
