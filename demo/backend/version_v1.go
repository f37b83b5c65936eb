//go:build v1

package main

import (
	"context"

	"chat/ent"
)

const version = "v1"

func afterMigration(context.Context, *store) error { return nil }

func seedMore(context.Context, *ent.Client, []int, []*ent.Message) error { return nil }
