//go:build broken

// Version 3 fails in the middle, as real ones do: on an empty database it works, on real rows it stops after it has
// already added a table and a column, changed rows and left an invalid index.

package main

import (
	"context"
	"fmt"
)

const version = "v3"

func afterMigration(ctx context.Context, db *store) error {
	for _, statement := range []string{
		"UPDATE users SET nickname = split_part(name, ' ', 1) WHERE nickname IS NULL",
		"CREATE UNIQUE INDEX CONCURRENTLY users_nickname_key ON users (nickname)",
	} {
		if _, err := db.sql.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}
