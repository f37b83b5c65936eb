//go:build v1

package schema

import "entgo.io/ent"

var (
	userFieldsOfThisVersion     []ent.Field
	userEdgesOfThisVersion      []ent.Edge
	messageEdgesOfThisVersion   []ent.Edge
	messageIndexesOfThisVersion []ent.Index
)
