//go:build !v1 && !broken

package main

import "context"

const version = "v2"

func afterMigration(context.Context, *store) error { return nil }
