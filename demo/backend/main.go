// The demo's chat backend: a small, real program whose schema is ent auto-migration.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"chat/ent"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	_ "github.com/lib/pq"
)

const usage = "usage: backend serve | migrate | seed [messages] | reset | health | version"

var commands = map[string]func(context.Context, *store) error{
	"serve":   serve,
	"migrate": migrate,
	"seed":    seed,
	"reset":   reset,
}

// store is one database seen twice: through ent and as plain SQL.
type store struct {
	ent *ent.Client
	sql *sql.DB
}

func main() {
	log.SetFlags(log.Ldate | log.Ltime | log.LUTC)
	command := ""
	if len(os.Args) > 1 {
		command = os.Args[1]
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, command); err != nil {
		log.Fatalf("ERROR %s: %v", command, err)
	}
}

func run(ctx context.Context, command string) error {
	switch command {
	case "version":
		fmt.Println(version)
		return nil
	case "health":
		return health()
	}
	action, known := commands[command]
	if !known {
		return errors.New(usage)
	}
	db, err := open()
	if err != nil {
		return err
	}
	defer db.sql.Close()
	return action(ctx, db)
}

func open() (*store, error) {
	dsn := os.Getenv("DATABASE_URL")
	if dsn == "" {
		dsn = os.Getenv("PREVIEW_DATABASE_URL")
	}
	if dsn == "" {
		return nil, errors.New("neither DATABASE_URL nor PREVIEW_DATABASE_URL is set")
	}
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(5)
	driver := postgres16{entsql.OpenDB(dialect.Postgres, db)}
	return &store{ent: ent.NewClient(ent.Driver(driver)), sql: db}, nil
}

// migrate adds the tables and columns that are missing and keeps the ones that exist.
func migrate(ctx context.Context, db *store) error {
	log.Printf("migrating to %s", version)
	if err := db.ent.Schema.Create(ctx); err != nil {
		return fmt.Errorf("creating the schema: %w", err)
	}
	if err := afterMigration(ctx, db); err != nil {
		return err
	}
	log.Printf("migrated to %s", version)
	return nil
}

// reset drops everything and starts again.  For development only.
func reset(ctx context.Context, db *store) error {
	if _, err := db.sql.ExecContext(ctx, "DROP SCHEMA public CASCADE; CREATE SCHEMA public"); err != nil {
		return err
	}
	return migrate(ctx, db)
}

// health asks the running server, so that a container's health is what its clients see.
func health() error {
	client := http.Client{Timeout: 2 * time.Second}
	response, err := client.Get("http://127.0.0.1" + address + "/healthz")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answered %s", response.Status)
	}
	return nil
}
