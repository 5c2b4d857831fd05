package main

import (
	"context"
	"net/http"
)

// bare is no library at all: what a request costs by itself. It has the answers
// at hand, so that the handlers do the same work.
type bare struct {
	value  []byte
	sample profile
}

func newBare() *bare { return &bare{sampleBytes()[0], sampleProfile()} }

func (*bare) name() string                        { return "bare handler" }
func (*bare) wrap(next http.Handler) http.Handler { return next }

func (*bare) login(http.ResponseWriter, *http.Request, string) error { return nil }
func (*bare) logout(http.ResponseWriter, *http.Request) error        { return nil }
func (*bare) formToken(*http.Request) (string, error)                { return "", nil }
func (*bare) user(*http.Request) string                              { return customer }

func (b *bare) bytes(*http.Request) []byte                                 { return b.value }
func (*bare) setBytes(http.ResponseWriter, *http.Request, []byte) error    { return nil }
func (b *bare) profile(*http.Request) (profile, bool)                      { return b.sample, true }
func (*bare) setProfile(http.ResponseWriter, *http.Request, profile) error { return nil }

func (*bare) mark(http.ResponseWriter, *http.Request, int) error { return nil }
func (*bare) marked(*http.Request, int) bool                     { return true }

func (*bare) onServer() bool              { return true }
func (*bare) close(context.Context) error { return nil }
