package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
)

// Room holds messages.
type Room struct{ ent.Schema }

// Fields of the table rooms.
func (Room) Fields() []ent.Field {
	return []ent.Field{
		field.String("name").Unique(),
		field.String("topic").Default(""),
	}
}

// Edges of the table rooms.
func (Room) Edges() []ent.Edge {
	return []ent.Edge{edge.To("messages", Message.Type)}
}
