package schema

import (
	"time"

	"entgo.io/ent"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
)

// Message is what a user wrote in a room.
type Message struct{ ent.Schema }

// Fields of the table messages.
func (Message) Fields() []ent.Field {
	return []ent.Field{
		field.Text("text").NotEmpty(),
		field.Time("created_at").Default(time.Now).Immutable(),
	}
}

// Edges of the table messages.
func (Message) Edges() []ent.Edge {
	return append([]ent.Edge{
		edge.From("author", User.Type).Ref("messages").Unique().Required(),
		edge.From("room", Room.Type).Ref("messages").Unique().Required(),
	}, messageEdgesOfThisVersion...)
}

// Indexes of the table messages.
func (Message) Indexes() []ent.Index {
	return messageIndexesOfThisVersion
}
