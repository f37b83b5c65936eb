package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"strconv"
	"time"

	"chat/ent"
	"chat/ent/message"
	"chat/ent/room"
	"chat/ent/user"
)

const address = ":8080"

// posting is a message as the clients see it.
type posting struct {
	ID     int    `json:"id"`
	Room   string `json:"room"`
	Author string `json:"author"`
	Text   string `json:"text"`
}

// serve answers until it is told to stop.  It never changes the schema.
func serve(ctx context.Context, db *store) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", answer(db.healthz))
	mux.HandleFunc("/messages", answer(db.messages))
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(grace)
	}()
	log.Printf("backend %s listens on %s", version, address)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	log.Print("stopped")
	return nil
}

// answer turns a handler's result into JSON and its error into a log line.
func answer(handle func(*http.Request) (interface{}, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		result, err := handle(r)
		status := http.StatusOK
		if err != nil {
			log.Printf("ERROR %s %s: %v", r.Method, r.URL.Path, err)
			status, result = http.StatusServiceUnavailable, map[string]string{"error": err.Error()}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(result)
	}
}

func (db *store) healthz(r *http.Request) (interface{}, error) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	var one int
	err := db.sql.QueryRowContext(ctx, "SELECT 1").Scan(&one)
	return map[string]string{"status": "ok", "version": version}, err
}

func (db *store) messages(r *http.Request) (interface{}, error) {
	if r.Method == http.MethodPost {
		return db.post(r)
	}
	return db.list(r)
}

// list shows the newest messages: GET /messages?limit=20.
func (db *store) list(r *http.Request) (interface{}, error) {
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil {
		limit = 20
	}
	found, err := db.ent.Message.Query().WithAuthor().WithRoom().
		Order(ent.Desc(message.FieldID)).Limit(limit).All(r.Context())
	postings := make([]posting, 0, len(found))
	for _, m := range found {
		postings = append(postings, posting{m.ID, m.Edges.Room.Name, m.Edges.Author.Name, m.Text})
	}
	return postings, err
}

// post stores one message of a known author in a known room.
func (db *store) post(r *http.Request) (interface{}, error) {
	var p posting
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
		return nil, err
	}
	author, err := db.ent.User.Query().Where(user.Name(p.Author)).OnlyID(r.Context())
	if err != nil {
		return nil, err
	}
	place, err := db.ent.Room.Query().Where(room.Name(p.Room)).OnlyID(r.Context())
	if err != nil {
		return nil, err
	}
	saved, err := db.ent.Message.Create().SetText(p.Text).SetAuthorID(author).SetRoomID(place).Save(r.Context())
	if err != nil {
		return nil, err
	}
	p.ID = saved.ID
	return p, nil
}
