// The demo builds without this file (GOPATH mode, with the distribution's packages: see ../images).
// To work on it as an ordinary module: go mod tidy && export GOFLAGS=-tags=v2 && go run ent/generate.go && go build
module chat

go 1.19

require (
	entgo.io/ent v0.11.3
	github.com/lib/pq v1.10.7
)
