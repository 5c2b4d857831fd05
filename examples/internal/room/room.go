// Package room passes what one says on to all that listen.
package room

import "sync"

// behind is how many messages may wait for a listener. More are dropped: a slow
// client must not hold up the others.
const behind = 64

// Room is a place to talk. The zero Room is empty and ready for use.
type Room struct {
	mu        sync.Mutex
	listeners map[chan string]struct{}
}

// Join returns a channel of what is said from now on. Call leave at the end.
func (r *Room) Join() (messages <-chan string, leave func()) {
	c := make(chan string, behind)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listeners == nil {
		r.listeners = make(map[chan string]struct{})
	}
	r.listeners[c] = struct{}{}
	return c, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.listeners, c)
	}
}

// Say passes a message on.
func (r *Room) Say(message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.listeners {
		select {
		case c <- message:
		default:
		}
	}
}
