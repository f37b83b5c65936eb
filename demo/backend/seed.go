package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"

	"chat/ent"
	"chat/ent/room"
	"chat/ent/user"
)

const (
	defaultMessages = 60
	batch           = 1000
)

var (
	people = []string{"Sato Yuki", "Sato Ken", "Suzuki Aoi", "Tanaka Hana", "O'Brien Niamh"}
	places = []string{"general", "random", "開発"}
)

// seed adds sample data.  People and rooms are added once, messages at each run.
func seed(ctx context.Context, db *store) error {
	count := defaultMessages
	if len(os.Args) > 2 {
		wanted, err := strconv.Atoi(os.Args[2])
		if err != nil {
			return fmt.Errorf("seed takes a number of messages: %w", err)
		}
		count = wanted
	}
	tx, err := db.ent.Tx(ctx)
	if err != nil {
		return err
	}
	if err := seedAll(ctx, tx.Client(), count); err != nil {
		_ = tx.Rollback()
		return err
	}
	log.Printf("seeded %d messages", count)
	return tx.Commit()
}

func seedAll(ctx context.Context, client *ent.Client, count int) error {
	authors, err := seedUsers(ctx, client)
	if err != nil {
		return err
	}
	rooms, err := seedRooms(ctx, client)
	if err != nil {
		return err
	}
	for done := 0; done < count; done += batch {
		var building []*ent.MessageCreate
		for n := done; n < count && n < done+batch; n++ {
			building = append(building, client.Message.Create().
				SetText(fmt.Sprintf("Message %d: こんにちは, \"hello\"\n\\ and 100%% more", n+1)).
				SetAuthorID(authors[n%len(authors)]).SetRoomID(rooms[n%len(rooms)]))
		}
		saved, err := client.Message.CreateBulk(building...).Save(ctx)
		if err != nil {
			return err
		}
		if err := seedMore(ctx, client, authors, saved); err != nil {
			return err
		}
	}
	return nil
}

func seedUsers(ctx context.Context, client *ent.Client) ([]int, error) {
	var ids []int
	for _, name := range people {
		id, err := client.User.Query().Where(user.Name(name)).OnlyID(ctx)
		if ent.IsNotFound(err) {
			created, failed := client.User.Create().SetName(name).Save(ctx)
			if failed != nil {
				return nil, failed
			}
			id, err = created.ID, nil
		}
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func seedRooms(ctx context.Context, client *ent.Client) ([]int, error) {
	var ids []int
	for _, name := range places {
		id, err := client.Room.Query().Where(room.Name(name)).OnlyID(ctx)
		if ent.IsNotFound(err) {
			created, failed := client.Room.Create().SetName(name).Save(ctx)
			if failed != nil {
				return nil, failed
			}
			id, err = created.ID, nil
		}
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}
