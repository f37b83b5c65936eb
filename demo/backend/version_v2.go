//go:build !v1

package main

import (
	"context"

	"chat/ent"
)

// seedMore adds a reaction to every third message.
func seedMore(ctx context.Context, client *ent.Client, authors []int, messages []*ent.Message) error {
	var building []*ent.ReactionCreate
	for n := 0; n < len(messages); n += 3 {
		building = append(building, client.Reaction.Create().
			SetEmoji("👍").SetUserID(authors[n%len(authors)]).SetMessageID(messages[n].ID))
	}
	_, err := client.Reaction.CreateBulk(building...).Save(ctx)
	return err
}
