package storetest

import (
	"bytes"
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"cloakroom.example/session/store"
)

// clone returns a deep copy, so that nobody shares a slice with it.
func clone(r store.Record) store.Record {
	r.Assurance = r.Assurance.Clone()
	if r.Predecessor != nil {
		p := *r.Predecessor
		p.Successor = bytes.Clone(p.Successor)
		r.Predecessor = &p
	}
	r.Wrap, r.Links = bytes.Clone(r.Wrap), slices.Clone(r.Links)
	r.Extensions = slices.Clone(r.Extensions)
	for i := range r.Extensions {
		r.Extensions[i].Value = bytes.Clone(r.Extensions[i].Value)
	}
	r.Parts = slices.Clone(r.Parts)
	for i := range r.Parts {
		r.Parts[i].Sealed = bytes.Clone(r.Parts[i].Sealed)
	}
	return r
}

// normal returns a copy in which what the contract leaves open is settled: time
// zones, nil or empty slices, the order of parts, and who is named as having
// ended a session that was superseded or evicted.
func normal(r store.Record) store.Record {
	r = clone(r)
	if r.End.Cause == store.CauseRenewed || r.End.Cause == store.CauseLimit {
		r.End.By = ""
	}
	for _, t := range []*time.Time{&r.Created, &r.Seen, &r.Rotated, &r.Assurance.At, &r.Deadline, &r.Limit, &r.End.At} {
		*t = t.Round(0).UTC()
	}
	r.Wrap, r.Links, r.Assurance.Methods = settle(r.Wrap), settle(r.Links), settle(r.Assurance.Methods)
	if p := r.Predecessor; p != nil {
		p.Successor, p.Confirmed = settle(p.Successor), p.Confirmed.Round(0).UTC()
	}
	for i := range r.Extensions {
		r.Extensions[i].Value = settle(r.Extensions[i].Value)
	}
	for i := range r.Parts {
		r.Parts[i].Sealed = settle(r.Parts[i].Sealed)
	}
	slices.SortFunc(r.Parts, func(a, b store.Part) int { return cmp.Compare(a.Name, b.Name) })
	r.Extensions, r.Parts = settle(r.Extensions), settle(r.Parts)
	return r
}

func settle[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}

// diff describes the fields in which two records differ; empty if they do not.
func diff(got, want store.Record) string {
	var out strings.Builder
	g, w := reflect.ValueOf(normal(got)), reflect.ValueOf(normal(want))
	for i := range g.NumField() {
		a, b := g.Field(i).Interface(), w.Field(i).Interface()
		if reflect.DeepEqual(a, b) {
			continue
		}
		if p, ok := a.(*store.Predecessor); ok {
			a, b = show(p), show(b.(*store.Predecessor))
		}
		fmt.Fprintf(&out, "\n\t%s:\n\t\tgot  %s\n\t\twant %s", g.Type().Field(i).Name, brief(a), brief(b))
	}
	return out.String()
}

func show(p *store.Predecessor) string {
	if p == nil {
		return "none"
	}
	return fmt.Sprintf("%+v", *p)
}

// brief keeps 64 KiB values out of the log.
func brief(v any) string {
	s := fmt.Sprintf("%+v", v)
	if len(s) > 300 {
		s = s[:300] + fmt.Sprintf("… (%d bytes)", len(s))
	}
	return s
}

// sameHandles reports whether two lists name the same sessions, each once.
func sameHandles(got, want []store.Handle) bool {
	return slices.Equal(sorted(got), sorted(want))
}

func sorted(hs []store.Handle) []store.Handle {
	return slices.SortedFunc(slices.Values(hs), func(a, b store.Handle) int { return bytes.Compare(a[:], b[:]) })
}

// without returns the record as List and Load without names return it.
func without(r store.Record) store.Record {
	r.Parts = nil
	return r
}
