//go:build ignore

// Generates the ent client from ./schema: GOFLAGS=-tags=v1 go run ent/generate.go
// The build tag (v1, v2 or broken) chooses the version of the schema.
package main

import (
	"log"

	"entgo.io/ent/entc"
	"entgo.io/ent/entc/gen"
)

func main() {
	if err := entc.Generate("./ent/schema", &gen.Config{Target: "./ent", Package: "chat/ent"}); err != nil {
		log.Fatal(err)
	}
}
