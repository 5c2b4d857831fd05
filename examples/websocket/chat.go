package main

import (
	"context"
	"net/http"

	"github.com/coder/websocket"

	"cloakroom.example/session"
)

// statusEnded tells the script that the session has ended, and not the network:
// there is no use in connecting again.
const statusEnded websocket.StatusCode = 4001

// chat is one WebSocket. The manager makes the request's context end with the
// session, and cuts the connection a second later, so that there is time to say
// why, but no way to stay.
func (a *app) chat(w http.ResponseWriter, r *http.Request) {
	user := session.From(r.Context()).Subject()
	messages, leave := a.room.Join() // before the browser learns that it is connected
	defer leave()
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	stop := context.AfterFunc(r.Context(), func() {
		_ = conn.Close(statusEnded, "your session has ended")
	})
	defer stop()

	// Not the request's context: the package drops a connection whose context
	// ends, and the goodbye with it.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	go deliver(ctx, conn, messages)
	for {
		_, text, err := conn.Read(ctx)
		if err != nil {
			return
		}
		a.room.Say(user + ": " + string(text))
	}
}

// deliver writes what is said, until the connection or its context ends.
func deliver(ctx context.Context, conn *websocket.Conn, messages <-chan string) {
	for {
		select {
		case text := <-messages:
			if conn.Write(ctx, websocket.MessageText, []byte(text)) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
