// One scenario a run, named on the command line; the connection comes from libpq's variables. Prints one JSON object.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

type failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

func failed(err error) *failure {
	var found *pgconn.PgError
	if errors.As(err, &found) {
		return &failure{found.Code, found.Message, found.Hint}
	}
	if err != nil {
		return &failure{"", err.Error(), ""}
	}
	return nil
}

func run(ctx context.Context, db *pgx.Conn, name string) (any, error) {
	switch name {
	case "prepared": // pgx prepares by itself and asks for binary results
		var items []string
		for id := 1; id <= 3; id++ {
			var item string
			if err := db.QueryRow(ctx, "SELECT item FROM orders WHERE id = $1", id).Scan(&item); err != nil {
				return nil, err
			}
			items = append(items, item)
		}
		return items, nil
	case "masked":
		modes := []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec}
		var found []map[string]any
		for _, mode := range modes {
			rows, err := db.Query(ctx, "SELECT id, email, card, balance FROM customers WHERE id = $1", mode, 1)
			if err != nil {
				return nil, err
			}
			row, err := pgx.CollectOneRow(rows, pgx.RowToMap)
			if err != nil {
				return nil, err
			}
			found = append(found, row)
		}
		return found, nil
	case "denied":
		_, err := db.Exec(ctx, "DELETE FROM customers WHERE id = $1", 1)
		var one int
		if err := db.QueryRow(ctx, "SELECT 1").Scan(&one); err != nil {
			return nil, err
		}
		return map[string]any{"error": failed(err), "still": one}, nil
	case "transaction":
		tx, err := db.Begin(ctx)
		if err != nil {
			return nil, err
		}
		_, denied := tx.Exec(ctx, "DELETE FROM customers")
		_, aborted := tx.Exec(ctx, "SELECT 1")
		if err := tx.Rollback(ctx); err != nil {
			return nil, err
		}
		var count int
		err = db.QueryRow(ctx, "SELECT count(*) FROM customers").Scan(&count)
		return map[string]any{"denied": failed(denied), "aborted": failed(aborted), "after": count}, err
	case "batch": // a pipeline: one Sync for all
		batch := &pgx.Batch{}
		for i := 1; i <= 100; i++ {
			batch.Queue("SELECT $1::int", i)
		}
		results := db.SendBatch(ctx, batch)
		sum := 0
		for i := 1; i <= 100; i++ {
			var value int
			if err := results.QueryRow().Scan(&value); err != nil {
				return nil, err
			}
			sum += value
		}
		return sum, results.Close()
	case "copy":
		rows := make([][]any, 5000)
		for i := range rows {
			rows[i] = []any{800000 + i, "by pgx"}
		}
		count, err := db.CopyFrom(ctx, pgx.Identifier{"uploads"}, []string{"id", "value"}, pgx.CopyFromRows(rows))
		if err != nil {
			return nil, err
		}
		var stored int
		err = db.QueryRow(ctx, "SELECT count(*) FROM uploads WHERE value = 'by pgx'").Scan(&stored)
		return map[string]any{"count": count, "stored": stored}, err
	case "cancel":
		short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
		defer stop()
		began := time.Now()
		_, err := db.Exec(short, "SELECT pg_sleep(30)")
		return map[string]any{"error": err != nil, "quick": time.Since(began) < 10*time.Second}, nil
	}
	return nil, fmt.Errorf("there is no scenario %q", name)
}

func main() {
	ctx := context.Background()
	out := map[string]any{}
	db, err := pgx.Connect(ctx, strings.TrimSpace("sslmode=verify-full"))
	if err != nil {
		out["refused"] = failed(err)
	} else {
		result, err := run(ctx, db, os.Args[1])
		out["result"], out["error"] = result, failed(err)
		db.Close(ctx)
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		os.Exit(1)
	}
}
