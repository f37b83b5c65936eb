//go:build !v1

// Version 2 adds a column, an index and a table.

package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
)

var (
	userFieldsOfThisVersion     = []ent.Field{field.String("nickname").Optional().Nillable()}
	userEdgesOfThisVersion      = []ent.Edge{edge.To("reactions", Reaction.Type)}
	messageEdgesOfThisVersion   = []ent.Edge{edge.To("reactions", Reaction.Type)}
	messageIndexesOfThisVersion = []ent.Index{index.Fields("created_at")}
)

// Reaction is a user's emoji on a message.
type Reaction struct{ ent.Schema }

// Fields of the table reactions.
func (Reaction) Fields() []ent.Field {
	return []ent.Field{field.String("emoji").NotEmpty()}
}

// Edges of the table reactions.
func (Reaction) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("user", User.Type).Ref("reactions").Unique().Required(),
		edge.From("message", Message.Type).Ref("reactions").Unique().Required(),
	}
}
