package main

import (
	"context"
	"strings"

	"entgo.io/ent/dialect"
)

// The ent of Debian 12 (0.11) reads settings that PostgreSQL 16 took away: lc_collate and lc_ctype.  This driver answers
// that one question from the catalogue, in the order that ent expects: version, ctype, collation.
const (
	oldQuestion = "SELECT setting FROM pg_settings WHERE name IN ('lc_collate', 'lc_ctype'"
	newQuestion = "SELECT unnest(ARRAY[current_setting('server_version_num'), datctype::text, datcollate::text])" +
		" FROM pg_database WHERE datname = current_database()"
)

type postgres16 struct{ dialect.Driver }

type postgres16Tx struct{ dialect.Tx }

func (d postgres16) Tx(ctx context.Context) (dialect.Tx, error) {
	tx, err := d.Driver.Tx(ctx)
	return postgres16Tx{tx}, err
}

func (tx postgres16Tx) Query(ctx context.Context, query string, args, v interface{}) error {
	if strings.HasPrefix(query, oldQuestion) {
		query = newQuestion
	}
	return tx.Tx.Query(ctx, query, args, v)
}
