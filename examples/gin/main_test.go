package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/gin-gonic/gin"

	"cloakroom.example/session"
	"cloakroom.example/session/sessiontest"
)

// TestHijack: a WebSocket opened through gin's writer ends with its session.
func TestHijack(t *testing.T) {
	m, err := session.New(session.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(context.Background())
	e := gin.New()
	e.GET("/", use(m.RequireLogin), func(c *gin.Context) {
		conn, err := websocket.Accept(c.Writer, c.Request, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		_, _, _ = conn.Read(c) // ends with the request's context
	})
	server := httptest.NewServer(recovered(m.Handler(e)))
	defer server.Close()
	r := sessiontest.LoggedIn(t, m, session.Identity{Subject: "alice"}, httptest.NewRequest("GET", "/", nil))
	conn, resp, err := websocket.Dial(t.Context(), server.URL, &websocket.DialOptions{
		HTTPHeader: http.Header{"Cookie": {strings.Join(r.Header["Cookie"], "; ")}},
	})
	if err != nil {
		t.Fatalf("got %v, %v", resp, err)
	}
	defer conn.CloseNow()
	if n, err := m.RevokeSubject(t.Context(), "alice", "test"); n != 1 || err != nil {
		t.Fatalf("got %d, %v; want one session to end", n, err)
	}
	if _, _, err := conn.Read(t.Context()); err == nil || t.Context().Err() != nil {
		t.Errorf("got %v, want the end of the connection", err)
	}
}
