// Package schema describes the chat's tables; ent generates the client and the migration from it.
package schema

import (
	"time"

	"entgo.io/ent"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
)

// User writes messages.
type User struct{ ent.Schema }

// Fields of the table users.
func (User) Fields() []ent.Field {
	return append([]ent.Field{
		field.String("name").Unique(),
		field.Time("created_at").Default(time.Now).Immutable(),
	}, userFieldsOfThisVersion...)
}

// Edges of the table users.
func (User) Edges() []ent.Edge {
	return append([]ent.Edge{edge.To("messages", Message.Type)}, userEdgesOfThisVersion...)
}
